"""Loading the configuration: every fault at once, with its place, and never a secret."""

from pathlib import Path

import pytest

from agent.settings import ConfigurationError, load
from agent.settings.sinks import decode_key

SOURCE = """
[[sources]]
name = "yard"
kind = "davantis"
url = "http://192.0.2.1:21000/api/v1/"
username = "admin"
password = "S3cret-Value"
account = "9998"
zones = { "1" = 3, "2" = { account = "9999", zone = 1 } }
"""
RECEIVER = '[[sinks]]\nname = "receiver"\nkind = "sia-dc09"\nhost = "h"\nport = 1\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agent.toml"


def faults(file: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ)
    return [str(fault) for fault in caught.value.faults]


def test_an_empty_file_is_a_valid_configuration(file: Path) -> None:
    file.write_text("")
    settings = load(file, {})
    assert (settings.sources, settings.sinks, settings.share) == ([], [], None)
    assert str(settings.console.listen) == "127.0.0.1:8082"


def test_a_source_is_read_with_its_places(file: Path) -> None:
    file.write_text(SOURCE)
    [source] = load(file, {}).sources
    assert source.kind == "davantis" and source.url == "http://192.0.2.1:21000"
    assert source.place_of("1") == ("9998", 3)
    assert source.place_of("2") == ("9999", 1)
    assert source.place_of("7") == ("9998", 7)
    assert source.place_of("door-a") == ("9998", 0)
    assert source.place_of("112233") == ("9998", 112233)
    assert source.place_of("9" * 30) == source.place_of("٣") == source.place_of("") == ("9998", 0)


def test_every_fault_is_told_at_once_with_its_place(file: Path) -> None:
    file.write_text(
        '[site]\nid = "a b"\n[console]\nlisten = "nowhere"\n[combin]\nminute = 1\n' + SOURCE + "pol_interval_s = 1\n"
    )
    told = faults(file)
    assert len(told) == 4
    assert all(str(file) in fault for fault in told)
    assert any('combin: unknown key, did you mean "combine"?' in fault for fault in told)
    assert any('sources[0].pol_interval_s: unknown key, did you mean "poll_interval_s"?' in fault for fault in told)
    assert any("site.id" in fault and 'is "a b"' in fault for fault in told)
    assert any("console.listen" in fault for fault in told)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (SOURCE.replace('"S3cret-Value"', "12345678"), "sources[0].password"),
        ('[console]\ntoken = "S3cret"\n', "console.token"),
        (RECEIVER + 'encryption_key = "hex:S3cret"\n', "sinks[0].encryption_key"),
    ],
)
def test_a_secret_is_never_in_a_fault(file: Path, text: str, key: str) -> None:
    file.write_text(text)
    [told] = faults(file)
    assert key in told
    assert "S3cret" not in told and "12345678" not in told


def test_broken_toml_names_the_line(file: Path) -> None:
    file.write_text('[site]\nid = "ok"\ntimezone = \n')
    [told] = faults(file)
    assert str(file) in told and "line 3" in told


def test_toml_that_ends_too_early_names_the_last_line(file: Path) -> None:
    file.write_text('[site]\nid = "ok"\n[combine]\nminute = [')
    [told] = faults(file)
    assert "line 4" in told


def test_an_unknown_kind_is_told_at_its_key(file: Path) -> None:
    file.write_text('[[sources]]\nname = "a"\nkind = "davantiss"\n[[sinks]]\nname = "b"\n')
    assert faults(file) == [
        f'{file}: sources[0].kind: "davantiss" is no kind of sources, did you mean "davantis"?',
        f"{file}: sinks[0].kind: is required and missing",
    ]


@pytest.mark.parametrize("patriot", ["127.0.0.1:9000", "0.0.0.0:9000", "[::]:9000"])
def test_two_listeners_on_one_port_are_a_fault(file: Path, patriot: str) -> None:
    file.write_text(f'[patriot]\nlisten = "{patriot}"\n[console]\nlisten = "127.0.0.1:9000"\n')
    [told] = faults(file)
    assert f"patriot.listen and console.listen take the same port: {patriot} and 127.0.0.1:9000" in told


@pytest.mark.parametrize(("one", "other"), [("0", "0"), ("9000", "9001")])
def test_free_ports_and_other_ports_are_none(file: Path, one: str, other: str) -> None:
    file.write_text(f'[patriot]\nlisten = "0.0.0.0:{one}"\n[console]\nlisten = "0.0.0.0:{other}"\n')
    assert load(file, {}).console.listen.port == int(other)


def test_a_file_that_was_named_must_be_there(file: Path) -> None:
    assert faults(file) == [f"{file}: there is no such file"]


def test_a_file_that_is_no_text_is_told(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in faults(file)[0]


def test_variables_reach_tables_and_entries_by_name(file: Path) -> None:
    file.write_text(SOURCE)
    settings = load(file, {"VARDE_SITE__ID": "north", "VARDE_SOURCES__YARD__PASSWORD": "[not json"})
    assert settings.site.id == "north"
    assert settings.sources[0].password.get_secret_value() == "[not json"  # type: ignore[union-attr]


def test_a_misspelt_variable_is_told(file: Path) -> None:
    file.write_text(SOURCE)
    told = faults(file, VARDE_SHRE__PASSWORD="x", VARDE_SOURCES__GARDEN__PASSWORD="y")
    assert any('VARDE_SHRE__PASSWORD: unknown variable, did you mean "share"?' in fault for fault in told)
    assert any('no entry is named "garden"' in fault for fault in told)


def test_credentials_are_read_from_their_directory(file: Path, tmp_path: Path) -> None:
    file.write_text(SOURCE)
    directory = tmp_path / "credentials"
    directory.mkdir()
    (directory / "console_token").write_text("a-long-token\n")
    (directory / "source_yard_password").write_text("from credential")
    (directory / "somebody_elses").write_text("x")
    settings = load(file, {"CREDENTIALS_DIRECTORY": str(directory)})
    assert settings.console.token is not None and settings.console.token.get_secret_value() == "a-long-token"
    assert settings.sources[0].password.get_secret_value() == "from credential"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[share]\nkind = "smb"\nserver = "x"\n', "share, username"),
        ('[share]\nkind = "directory"\n', "needs path"),
        ('[share]\nkind = "directory"\npath = "/x"\nremote_path = "*.xml"\n', "plain file name"),
        (SOURCE + SOURCE, 'the name "yard" stands twice'),
        ('[[sinks]]\nname="h"\nkind="webhook"\nurl="http://x"\nsources=["yrd"]\n', "not configured"),
        ('[[sinks]]\nname="m"\nkind="mqtt"\nurl="mqtt://u:p@x"\n', "password belongs"),
        ('[patriot]\ntls_key = "/k"\n', "set together"),
        ('[site]\ntimezone = "Mars/Base"\n', "time zone"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_reason(file: Path, text: str, reason: str) -> None:
    file.write_text(text)
    assert any(reason in fault for fault in faults(file))


@pytest.mark.parametrize(
    ("text", "length"),
    [("text:0123456789ABCDEF", 16), ("hex:" + "00" * 24, 24), ("text:" + "x" * 32, 32)],
)
def test_a_receivers_key_says_its_form(text: str, length: int) -> None:
    assert len(decode_key(text)) == length


@pytest.mark.parametrize("text", ["0123456789ABCDEF", "hex:0011", "text:short", "hex:" + "zz" * 16, "text:" + "æ" * 16])
def test_a_key_that_could_be_read_two_ways_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        decode_key(text)
    assert text.split(":")[-1] not in str(caught.value)


def test_a_printed_configuration_shows_no_secret(file: Path) -> None:
    file.write_text(SOURCE)
    settings = load(file, {})
    assert "S3cret" not in repr(settings) and "S3cret" not in settings.model_dump_json()
