"""Manual pages and completion of a small command tree, and of the settings."""

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from agent.cli.manual import PAGES, page
from agent.settings.describe import tables


@click.group()
@click.version_option("1")
def toy() -> None:
    """A toy.

    \b
    First:  toy paint
    """


@toy.command()
@click.argument("what", type=click.Choice(["wall", "fence"]))
@click.option("--colour", type=click.Choice(["red", "green"]), default="red", show_default=True, help="Which 'one'.")
@click.option("--from", "source", type=click.Path(), help="A can of paint.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--secret", hidden=True)
def paint(**_: object) -> None:
    """Paint something.

    .profile is not read.
    """


@toy.group()
def keys() -> None:
    """Keys of the toy."""


@keys.command()
@click.argument("name")
def add(name: str) -> None:
    """Add a key."""


@toy.command(hidden=True)
def internal() -> None:
    """Nobody's business."""


def rendered(tmp_path: Path, name: str) -> str:
    """The page as a person sees it; fails on any warning of troff."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    file = tmp_path / name
    file.write_text(page(name, toy), "utf-8")
    shown = subprocess.run(
        ["groff", "-man", "-Tutf8", "-k", "-ww", "-P-c", "-P-b", "-P-u", "-rLL=100n", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    return " ".join(shown.stdout.replace("‐\n", "").split())


def test_the_page_names_every_command_and_option(tmp_path: Path) -> None:
    shown = rendered(tmp_path, "varde.1")
    assert "paint [wall|fence]" in shown or "paint {wall|fence}" in shown
    assert "--colour [red|green] Which 'one'. [red]" in shown
    assert "--from PATH A can of paint." in shown
    assert "keys add NAME Add a key." in shown
    assert ".profile is not read." in shown
    assert "First: toy paint" in shown


def test_what_is_hidden_stays_hidden() -> None:
    for name in ("varde.1", "completion"):
        assert "internal" not in page(name, toy)
        assert "--secret" not in page(name, toy)


def test_the_page_of_the_settings_names_every_one(tmp_path: Path) -> None:
    shown = rendered(tmp_path, "agent.toml.5")
    for table in tables():
        assert table.header in shown
        for setting in table.settings:
            assert f"{setting.key} ({setting.values})" in shown, setting


def completed(*words: str, folder: Path) -> list[str]:
    """What bash offers for the last of `words`."""
    script = page("completion", toy) + (
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }; _varde; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-euc", script, "bash", *words], capture_output=True, text=True, check=True, cwd=folder
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["varde", ""], ["keys", "paint"]),
        (["varde", "p"], ["paint"]),
        (["varde", "keys", ""], ["add"]),
        (["varde", "paint", ""], ["wall", "fence"]),
        (["varde", "paint", "--d"], ["--dry-run"]),
        (["varde", "paint", "wall", "--colour", "g"], ["green"]),
        (["varde", "paint", "--from", "can"], ["can-of-paint"]),
        (["varde", "keys", "add", ""], []),
    ],
)
def test_bash_offers_what_may_stand_next(words: list[str], offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "can-of-paint").touch()
    assert completed(*words, folder=tmp_path) == offered


@pytest.mark.parametrize("name", PAGES)
def test_one_tree_always_gives_one_page(name: str) -> None:
    assert page(name, toy) == page(name, toy)
