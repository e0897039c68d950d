"""Build the Debian package: locked wheels + the agent + what is under debian/ and etc/, packed by dpkg-deb.

    scripts/locks/runtime.txt ─pip, hashes checked→ ┐
    agent/ ─────────────────────────────────────────┤ stage ─modes, times→ dpkg-deb → dist/*.deb
    debian/, etc/, pages written by `varde manual` ─┘

One tree gives one package, byte for byte: the version and every time come from debian/changelog, names are sorted,
owners are root, and what differs between two runs of pip is left out.
"""

import argparse
import email
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "varde-agent"
LIBRARY = Path("usr/lib") / NAME
DOC = Path("usr/share/doc") / NAME
LOCK = ROOT / "scripts/locks/runtime.txt"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# What differs between releases: the Python that libraries are compiled for, and the mark in the version by which an
# upgrade of Debian takes the new release's package for newer.
SUITES = {"bookworm": ("3.11", ""), "trixie": ("3.13", "+deb13")}
# Wheels carry these, and nothing reads them at run time: sources of extensions, pip itself (sqlite-utils names it for
# a command that nobody calls), scripts with this machine's paths, records of the installation, codecs of picture
# formats that no camera here speaks, grammars of programming languages that nobody highlights.
UNUSED = (
    "pip", "pip-*.dist-info", "bin", "share", "*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json", "*.dist-info/sboms", "lxml/includes", "lxml/**/*.pxd", "lxml/**/*.pyx",
    "lxml/**/*.pxi", "lxml/**/*.c", "lxml/**/*.h", "trio/_tests", "trio/_core/_tests", "**/tests", "**/py.typed",
    "**/*.pyi", "tqdm/completion.sh", "PIL/_avif.*", "pillow.libs/libavif*", "PIL/_imagingtk.*",
    "pygments/lexers/[!_]*.py",
)  # fmt: skip


class CannotBuild(Exception):
    """Why there is no package; the text is for people."""


@dataclass(frozen=True)
class Target:
    """What is built for whom."""

    version: str
    arch: str
    suite: str
    epoch: int

    @property
    def python(self) -> str:
        return SUITES[self.suite][0]

    @property
    def debian_version(self) -> str:
        return self.version + SUITES[self.suite][1]

    @property
    def file_name(self) -> str:
        return f"{NAME}_{self.debian_version}_{self.arch}.deb"


def main() -> None:
    arguments = argparse.ArgumentParser(prog="build-deb", description="Build the Debian package into dist/.")
    arguments.add_argument("--arch", choices=sorted(MACHINES), default="amd64")
    arguments.add_argument("--suite", choices=sorted(SUITES), default="bookworm", help="Debian release")
    arguments.add_argument("--output", type=Path, default=ROOT / "dist")
    arguments.add_argument("--work", type=Path, default=ROOT / "build/deb", help="kept, so that the next run is quick")
    arguments.add_argument("--compression", choices=("xz", "none"), default="xz", help="none: quick, to look inside")
    given = arguments.parse_args()
    os.umask(0o022)
    try:
        version, epoch = version_of_record()
        target = Target(version, given.arch, given.suite, epoch)
        print(build(target, given.work.resolve(), given.output.resolve(), given.compression))
    except CannotBuild as error:
        sys.exit(f"build-deb: {error}")


def build(target: Target, work: Path, output: Path, compression: str) -> Path:
    """Stage, pack and return the package's path."""
    stage = work / f"stage-{target.suite}-{target.arch}"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    shutil.copytree(libraries(target, work), stage / LIBRARY, symlinks=True)
    shutil.copytree(ROOT / "agent", stage / LIBRARY / "agent", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    stage_files(target, stage)
    stage_documentation(target, stage, work)
    stage_control(target, stage)
    settle(stage, target.epoch)
    output.mkdir(parents=True, exist_ok=True)
    package = output / target.file_name
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(target.epoch)}
    run(["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", str(stage), str(package)], env=environment)
    shutil.rmtree(stage)
    return package


def version_of_record() -> tuple[str, int]:
    """The version, and the time of its changelog entry. Two places that disagree are a failed build."""
    changelog = (ROOT / "debian/changelog").read_text("utf-8")
    head = re.match(rf"{NAME} \(([^)]+)\) ", changelog)
    date = re.search(r"^ -- .*>  (.*)$", changelog, re.MULTILINE)
    code = re.search(r'^__version__ = "(.*)"$', (ROOT / "agent/__init__.py").read_text("utf-8"), re.MULTILINE)
    if not head or not date or not code:
        raise CannotBuild("debian/changelog or agent/__init__.py does not state a version")
    if head[1] != code[1]:
        raise CannotBuild(
            f"versions disagree: debian/changelog says {head[1]}, agent/__init__.py says {code[1]}; make them one"
        )
    return head[1], int(parsedate_to_datetime(date[1]).timestamp())


# Libraries --------------------------------------------------------------------------------------------------------


def libraries(target: Target, work: Path) -> Path:
    """The locked wheels for the target, unpacked; made once for each lock."""
    stamp = hashlib.sha256(LOCK.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:16]
    tree = work / f"libraries-{target.python}-{target.arch}-{stamp}"
    if tree.exists():
        return tree
    for outdated in work.glob(f"libraries-{target.python}-{target.arch}-*"):
        shutil.rmtree(outdated)
    fresh = work / f"fresh-{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    install(fresh, ["--python-version", target.python, "--implementation", "cp", *tags(target)])
    for pattern in UNUSED:
        for path in list(fresh.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    try:
        fresh.rename(tree)
    except OSError:  # another build was quicker
        shutil.rmtree(fresh)
    return tree


def tags(target: Target) -> list[str]:
    platforms = [f"manylinux_2_{minor}_{MACHINES[target.arch]}" for minor in range(28, 16, -1)]
    platforms.append(f"manylinux2014_{MACHINES[target.arch]}")
    abis = [f"cp{target.python.replace('.', '')}", "abi3", "none"]
    return [part for p in platforms for part in ("--platform", p)] + [part for a in abis for part in ("--abi", a)]


def install(folder: Path, options: list[str]) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-warn-conflicts", "--root-user-action=ignore"]
    exact = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile", "--requirement", str(LOCK)]
    run([*pip, *exact, "--target", str(folder), *options])


# Files ------------------------------------------------------------------------------------------------------------


def stage_files(target: Target, stage: Path) -> None:
    """Command, service, configuration."""
    write(stage / "usr/bin/varde", filled("launcher", target), 0o755)
    copy("debian/varde-agent.service", stage / "lib/systemd/system/varde-agent.service")
    copy("debian/varde-agent.sysusers", stage / "usr/lib/sysusers.d/varde-agent.conf")
    copy("debian/varde-agent.tmpfiles", stage / "usr/lib/tmpfiles.d/varde-agent.conf")
    copy("etc/agent.toml", stage / "etc/varde/agent.toml", 0o640)
    copy("etc/keys.json", stage / "etc/varde/keys.json", 0o640)
    (stage / "etc/varde/credentials").mkdir()
    for folder in ("etc/varde", "etc/varde/credentials"):
        (stage / folder).chmod(0o750)


def stage_documentation(target: Target, stage: Path, work: Path) -> None:
    """Manual pages and completion from the agent itself, the rest as it lies in the tree."""
    for page in ("varde.1", "agent.toml.5"):
        compress(manual(page, target, work, stage), stage / f"usr/share/man/man{page[-1]}/{page}.gz")
    write(stage / "usr/share/bash-completion/completions/varde", manual("completion", target, work, stage))
    copy("debian/copyright", stage / DOC / "copyright")
    copy("debian/README.Debian", stage / DOC / "README.Debian")
    compress((ROOT / "debian/changelog").read_text("utf-8"), stage / DOC / "changelog.gz")
    write(stage / DOC / "third-party.txt", third_party(stage / LIBRARY))
    copy("debian/lintian-overrides", stage / "usr/share/lintian/overrides" / NAME)
    for folder in ("prometheus", "grafana"):
        for file in sorted((ROOT / "etc" / folder).iterdir()):
            copy(file.relative_to(ROOT), stage / DOC / "examples" / folder / file.name)
    if (ROOT / "README.md").exists():
        copy("README.md", stage / DOC / "README.md")


def manual(page: str, target: Target, work: Path, stage: Path) -> str:
    """What `varde manual PAGE` prints, run by this machine's Python with the locked libraries for this machine."""
    paths = [str(libraries_here(target, work)), str(stage / LIBRARY)]
    code = f"import sys; sys.path[:0] = {paths!r}; from agent.__main__ import main; main()"
    return run([sys.executable, "-I", "-B", "-c", code, "manual", page])


def libraries_here(target: Target, work: Path) -> Path:
    """The locked libraries for this machine: the target's own, those of another build, or a third set."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    arch = next((arch for arch, machine in MACHINES.items() if machine == os.uname().machine), None)
    suite = next((suite for suite, (version, _) in SUITES.items() if version == python), None)
    if arch and suite:
        return libraries(replace(target, arch=arch, suite=suite), work)
    tree = work / f"libraries-here-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    if not tree.exists():
        install(tree, [])
    return tree


def third_party(tree: Path) -> str:
    """Name, version and licence of every library inside."""
    lines = []
    for file in sorted(tree.glob("*.dist-info/METADATA"), key=lambda file: file.parent.name.lower()):
        fields = email.message_from_string(file.read_text("utf-8"))
        classified = [c.rsplit(" :: ", 1)[1] for c in fields.get_all("Classifier", []) if c.startswith("License :: ")]
        stated = (fields["License"] or "").strip().splitlines()
        licence = fields["License-Expression"] or ", ".join(classified) or (stated[0] if stated else "see its METADATA")
        lines.append(f"{fields['Name']} {fields['Version']}: {licence}\n")
    return "".join(lines)


# The package itself -----------------------------------------------------------------------------------------------


def stage_control(target: Target, stage: Path) -> None:
    control = stage / "DEBIAN"
    for script in ("postinst", "prerm", "postrm"):
        write(control / script, filled(script, target), 0o755)
    copy("debian/conffiles", control / "conffiles")
    files = [path for path in sorted(stage.rglob("*")) if path.is_file() and control not in path.parents]
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(stage)}\n" for path in files]
    conffiles = {line.lstrip("/") for line in (ROOT / "debian/conffiles").read_text().split()}
    write(control / "md5sums", "".join(line for line in sums if line.split("  ", 1)[1].strip() not in conffiles))
    # dpkg's own rule: each file in whole KiB, and one for each folder.
    size = sum(-(-path.lstat().st_size // 1024) if path.is_file() else 1 for path in stage.rglob("*"))
    write(control / "control", filled("control.in", target).replace("@INSTALLED_SIZE@", str(size)))


def filled(template: str, target: Target) -> str:
    """A file of debian/ with the target's values in place of @NAMES@."""
    minor = int(target.python.split(".")[1])
    values = {
        "VERSION": target.debian_version,
        "ARCHITECTURE": target.arch,
        "PYTHON": f"python{target.python}",
        "PYTHON_MINOR": target.python,
        "PYTHON_NEXT": f"3.{minor + 1}",
    }
    text = (ROOT / "debian" / template).read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def settle(stage: Path, epoch: int) -> None:
    """Modes that do not depend on the checkout, and one time for everything."""
    kept = {
        stage / path for path in ("etc/varde/agent.toml", "etc/varde/keys.json", "etc/varde", "etc/varde/credentials")
    }
    for path in sorted(stage.rglob("*"), reverse=True):
        if path not in kept and not path.is_symlink():
            executable = (
                path.is_dir() or path == stage / "usr/bin/varde" or path.name in ("postinst", "prerm", "postrm")
            )
            path.chmod(0o755 if executable else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    stage.chmod(0o755)
    os.utime(stage, (epoch, epoch))


def copy(source: str | Path, destination: Path, mode: int = 0o644) -> None:
    write(destination, (ROOT / source).read_text("utf-8"), mode)


def write(destination: Path, text: str, mode: int = 0o644) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_text(text, "utf-8")
    destination.chmod(mode)


def compress(text: str, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def run(command: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=env, text=True, capture_output=True)
    if done.returncode:
        raise CannotBuild(f"{' '.join(command[:4])} … ended with {done.returncode}:\n{done.stderr.strip()[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
