"""Secrets reach the settings from files: systemd's, or those beside agent.toml."""

from pathlib import Path

import pytest

from agent.settings import ConfigurationError, load


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "agent.toml"
    file.write_text('[[sources]]\nname = "front-door"\nkind = "lockt"\napi_user = "u"\n', "utf-8")
    return file


def write(folder: Path, **secrets: str) -> Path:
    folder.mkdir()
    for name, text in secrets.items():
        (folder / name).write_text(text, "utf-8")
    return folder


def api_key(config: Path, environ: dict[str, str]) -> str:
    (source,) = load(config, environ).sources
    assert source.kind == "lockt"
    return source.api_key.get_secret_value()


def test_a_folder_loaded_whole_by_systemd_bears_its_prefix(config: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "loaded", **{"varde_source_front-door_api_key": "k1\n"})
    assert api_key(config, {"CREDENTIALS_DIRECTORY": str(folder)}) == "k1"


def test_a_credential_loaded_by_its_own_name_counts_too(config: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "loaded", source_front_door_api_key="k2")
    assert api_key(config, {"CREDENTIALS_DIRECTORY": str(folder)}) == "k2"


def test_by_hand_the_files_beside_the_configuration_count(config: Path, tmp_path: Path) -> None:
    write(tmp_path / "credentials", source_front_door_api_key="k3")
    assert api_key(config, {}) == "k3"


def test_what_systemd_gives_stands_in_place_of_the_files(config: Path, tmp_path: Path) -> None:
    write(tmp_path / "credentials", source_front_door_api_key="k4")
    folder = write(tmp_path / "loaded", share_other="x")
    with pytest.raises(ConfigurationError, match="api_key"):
        load(config, {"CREDENTIALS_DIRECTORY": str(folder)})


def test_hidden_files_and_folders_are_nobodys_secret(config: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "credentials", source_front_door_api_key="k5")
    (folder / ".console_token.swp").write_bytes(b"\xff")
    (folder / "console_token").mkdir()
    assert api_key(config, {}) == "k5"
