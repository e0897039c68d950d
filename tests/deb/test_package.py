"""What is in the package: the right things, nothing of the machine it was built on, the same at every build."""

import gzip
import hashlib
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.deb.conftest import Builds

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]
ELF_MACHINES = {62: "x86_64", 183: "aarch64"}


def control(package: Path, field: str) -> str:
    return subprocess.check_output(["dpkg-deb", "--field", str(package), field], text=True).strip()


def listing(package: Path) -> dict[str, str]:
    """Path → mode and owner, as dpkg would install it."""
    text = subprocess.check_output(["dpkg-deb", "--contents", str(package)], text=True)
    rows = [line.split(None, 5) for line in text.splitlines()]
    return {row[5].removeprefix("."): f"{row[0]} {row[1]}" for row in rows}


def machines(tree: Path) -> dict[str, str]:
    """Every ELF object of a tree → the machine it is for, read from its header."""
    found = {}
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                head = file.read(20)
            if head[:4] == b"\x7fELF":
                found[str(path.relative_to(tree))] = ELF_MACHINES.get(struct.unpack_from("<H", head, 18)[0], "other")
    return found


def tree_of(package: Path, folder: Path) -> Path:
    subprocess.run(["dpkg-deb", "--extract", str(package), str(folder)], check=True)
    return folder


def test_the_name_says_version_and_architecture(package: Path) -> None:
    assert package.name == f"varde-agent_{control(package, 'Version')}_amd64.deb"
    assert control(package, "Architecture") == "amd64"
    assert control(package, "Maintainer")


def test_it_fits_one_minor_version_of_python(builds: "Builds") -> None:
    assert "python3 (>= 3.11), python3 (<< 3.12)" in control(builds["amd64"], "Depends")
    assert "python3 (>= 3.13), python3 (<< 3.14)" in control(builds["trixie"], "Depends")


def test_debian_13_takes_its_package_for_newer(builds: "Builds") -> None:
    old, new = (control(builds[name], "Version") for name in ("amd64", "trixie"))
    subprocess.run(["dpkg", "--compare-versions", new, "gt", old], check=True)
    subprocess.run(["dpkg", "--compare-versions", new, "lt", f"{old}.1"], check=True)


def test_modules_are_compiled_for_the_release_s_python(builds: "Builds", unpacked: Path, tmp_path: Path) -> None:
    trixie = tree_of(builds["trixie"], tmp_path / "trixie")
    for tree, wanted, other in ((unpacked, "cpython-311", "cpython-313"), (trixie, "cpython-313", "cpython-311")):
        objects = machines(tree)
        assert set(objects.values()) == {"x86_64"}
        assert any(wanted in name for name in objects)
        assert not any(other in name for name in objects)


def test_the_arm_package_holds_only_arm_objects(builds: "Builds", unpacked: Path, tmp_path: Path) -> None:
    package = builds["arm64"]
    assert control(package, "Architecture") == "arm64"
    objects = machines(tree_of(package, tmp_path / "arm64"))
    assert set(objects.values()) == {"aarch64"}, {name for name, machine in objects.items() if machine != "aarch64"}
    # The same modules as on the other architecture, so that none is missing there.
    modules = {re.sub(r"[.-].*", "", name) for name in objects if "libs/" not in name}
    assert modules == {re.sub(r"[.-].*", "", name) for name in machines(unpacked) if "libs/" not in name}


def test_two_builds_give_one_hash(builds: "Builds") -> None:
    first, second = (hashlib.sha256(builds[name].read_bytes()).hexdigest() for name in ("amd64", "again"))
    assert first == second


def test_owners_and_modes(package: Path) -> None:
    files = listing(package)
    assert {entry.split(" ")[1] for entry in files.values()} == {"root/root"}
    private = {path: entry[:10] for path, entry in files.items() if path.startswith("/etc/varde")}
    assert private == {
        "/etc/varde/": "drwxr-x---",
        "/etc/varde/agent.toml": "-rw-r-----",
        "/etc/varde/keys.json": "-rw-r-----",
        "/etc/varde/credentials/": "drwxr-x---",
    }
    rest = {entry[:10] for path, entry in files.items() if path not in private}
    assert rest == {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x"}


def test_neither_pip_nor_leftovers_of_the_build(unpacked: Path) -> None:
    library = unpacked / "usr/lib/varde-agent"
    unwanted = [
        "pip",
        "pip-*",
        "bin",
        "**/__pycache__",
        "**/*.pyc",
        "*.dist-info/RECORD",
        "*.dist-info/direct_url.json",
    ]
    assert [path for pattern in unwanted for path in library.glob(pattern)] == []
    here = str(ROOT).encode()
    texts = [path for path in unpacked.rglob("*") if path.is_file() and path.suffix in (".py", ".toml", ".txt", "")]
    assert [path for path in texts if here in path.read_bytes()] == []


def test_every_locked_dependency_is_inside(unpacked: Path) -> None:
    lock = (ROOT / "scripts/locks/runtime.txt").read_text("utf-8")
    locked = re.findall(r"^([a-z0-9-]+)==([^ ;]+)(?: ; (.*?))? \\$", lock, re.MULTILINE)
    wanted = {
        f"{name.replace('-', '_')}-{version}.dist-info"
        for name, version, marker in locked
        if name != "pip" and "win32" not in marker
    }
    assert {path.name for path in (unpacked / "usr/lib/varde-agent").glob("*.dist-info")} == wanted
    listed = (unpacked / "usr/share/doc/varde-agent/third-party.txt").read_text("utf-8").splitlines()
    assert len(listed) == len(wanted)
    assert all(": " in line for line in listed)


def test_objects_need_only_what_the_package_depends_on(unpacked: Path) -> None:
    """A library that an object names is in the package or in one of the packages it depends on."""
    if shutil.which("readelf") is None:
        pytest.skip("needs readelf")
    given = {
        "libc.so.6": "libc6", "libm.so.6": "libc6", "libpthread.so.0": "libc6", "libdl.so.2": "libc6",
        "librt.so.1": "libc6", "ld-linux-x86-64.so.2": "libc6", "libgcc_s.so.1": "libgcc-s1",
        "libstdc++.so.6": "libstdc++6", "libz.so.1": "zlib1g",
    }  # fmt: skip
    depends = (unpacked / "DEBIAN/control").read_text("utf-8")
    objects = machines(unpacked)
    bundled = {Path(name).name for name in objects}
    for name in objects:
        text = subprocess.check_output(["readelf", "--dynamic", str(unpacked / name)], text=True)
        for library in re.findall(r"\(NEEDED\).*\[(.*)\]", text):
            assert library in bundled or given.get(library, "?") in depends, (name, library)


def test_manual_pages_and_completion(unpacked: Path) -> None:
    page = gzip.decompress((unpacked / "usr/share/man/man1/varde.1.gz").read_bytes()).decode()
    script = (unpacked / "usr/share/bash-completion/completions/varde").read_text("utf-8")
    for command in ("run", "check", "status", "setup", "migrate", "bundle", "keys add"):
        assert re.search(rf"^\.SS {command}\b", page, re.MULTILINE), command
        assert f"varde {command}" in script
    settings = gzip.decompress((unpacked / "usr/share/man/man5/agent.toml.5.gz").read_bytes()).decode()
    assert "poll_interval_s" in settings


def test_lintian_has_no_errors(package: Path, tmp_path: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("needs lintian")
    # The overrides travel inside the package; a tag that no longer occurs is an error of ours too.
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on=error,warning", "--tag-display-limit=0", str(package)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout


def test_every_override_has_a_reason() -> None:
    lines = (ROOT / "debian/lintian-overrides").read_text("utf-8").splitlines()
    reason = False
    for line in lines:
        reason = reason or line.startswith("# ")
        assert reason, line
        assert line.startswith(("# ", "varde-agent: ")), line


def test_versions_that_disagree_fail_the_build_by_name(tmp_path: Path) -> None:
    for folder in ("scripts", "debian", "agent"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    changelog = tmp_path / "debian/changelog"
    changelog.write_text(re.sub(r"\(.*?\)", "(7.8.9)", changelog.read_text("utf-8"), count=1), "utf-8")
    done = subprocess.run([tmp_path / "scripts/build-deb"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "debian/changelog says 7.8.9" in done.stderr
    assert "agent/__init__.py says" in done.stderr
    assert not (tmp_path / "dist").exists()


def test_a_wheel_with_another_hash_fails_the_build(tmp_path: Path) -> None:
    for folder in ("scripts", "debian", "agent", "etc"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    lock = tmp_path / "scripts/locks/runtime.txt"
    lock.write_text("annotated-doc==0.0.7 --hash=sha256:" + "0" * 64 + "\n", "utf-8")
    done = subprocess.run([tmp_path / "scripts/build-deb"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "HASHES" in done.stderr
    assert not (tmp_path / "dist").exists()
