"""Bulk load of users: the spreadsheet, the dry run, and the vendor's words beside each line."""

from pathlib import Path

import pytest

from agent.vendors.lab import Ill
from agent.vendors.lockt import loading, spreadsheet
from agent.vendors.lockt.client import LocktClient
from agent.vendors.lockt.simulator import LocktSimulator

HEADING = "id_num,first_name,last_name,email,phone,card_num,pin,accesslevels,access_expires,enabled"


def row(number: int, **changes: str) -> str:
    values = {
        "id_num": f"N{number}",
        "first_name": "Kari",
        "last_name": "Nordmann",
        "email": f"kari{number}@example.no",
        "phone": "99887766",
        "card_num": str(50_000 + number),
        "pin": "4711",
        "accesslevels": "Level 1",
        "access_expires": "2030-01-01 00:00:00",
        "enabled": "",
        **changes,
    }
    return ",".join(f'"{values[key]}"' for key in HEADING.split(","))


def sheet(*rows: str) -> list[spreadsheet.Line]:
    return spreadsheet.parse("\n".join([HEADING, *rows]))


async def test_a_load_inserts_everybody(simulator: LocktSimulator, client: LocktClient) -> None:
    progress: list[int] = []
    lines = sheet(*(row(number) for number in range(230)))
    site = await loading.read_site(client)
    report = await loading.load(client, lines, site, on_progress=progress.append)
    assert (report.good, report.result.inserted, report.rows) == (True, 230, 230)
    assert progress == [0, 100, 100, 30]
    loaded = next(user for user in simulator.site.users.values() if user["id_num"] == "N7")
    assert (loaded["card_num"], loaded["accesslevels"], loaded["enabled"]) == ("50007", [123], True)


async def test_each_rejected_row_has_its_line_and_the_vendors_words(
    simulator: LocktSimulator, client: LocktClient
) -> None:
    rows = [row(number) for number in range(210)]
    rows[3] = row(3, email="kari3@@@example.no")
    rows[150] = row(150, card_num="A8914", phone="x")
    rows[151] = row(151, accesslevels="Cellar")
    rows[205] = row(205, id_num="N2", email="kari2@example.no")
    report = await loading.load(client, sheet(*rows), await loading.read_site(client))
    found = {rejected.number: rejected.words for rejected in report.rejected}
    assert set(found) == {5, 152, 153, 207}
    assert found[5] == ("Invalid email address found: kari3@@@example.no",)
    assert found[152] == ("Invalid phone found: x", "Non-Numeric card_num found: A8914")
    assert "Cellar" in found[153][0]
    assert "already exists" in found[207][0]
    assert report.result.inserted == 206
    assert not report.good


BROKEN = {
    "id_num is blank": {"id_num": ""},
    "pin is blank": {"pin": ""},
    "email is no address": {"email": "kari@@no"},
    "phone is no number": {"phone": "call me"},
    "card_num is not numeric": {"card_num": "A1"},
    "pin is not numeric": {"pin": "abcd"},
    "access_expires is no date": {"access_expires": "next year"},
    "without Z or offset": {"access_expires": "2030-01-01T00:00:00Z"},
    "enabled must be": {"enabled": "perhaps"},
    "no access level": {"accesslevels": "Level 1; Cellar"},
    "id_num exists": {"id_num": "ZZ123"},
    "email exists": {"email": "JO.DOE3@example.com"},
    "card_num exists": {"card_num": "8001"},
    "id_num stands in more": {"id_num": "N1"},
    "email stands in more": {"email": "kari1@example.no"},
    "card_num stands in more": {"card_num": "50001"},
}


@pytest.mark.parametrize("words", BROKEN)
async def test_a_dry_run_finds_what_would_be_rejected_and_writes_nothing(
    simulator: LocktSimulator, client: LocktClient, words: str
) -> None:
    lines = sheet(row(1), row(2), row(3, **BROKEN[words]))
    report = loading.dry_run(lines, await loading.read_site(client), update=False)
    assert words in " ".join(report.rejected[-1].words)
    assert report.rejected[-1].number == 4
    assert {rejected.number for rejected in report.rejected} <= {2, 4}
    assert not any(not request.startswith("GET ") for request in simulator.laboratory.requests)


async def test_what_a_dry_run_passes_goes_in(simulator: LocktSimulator, client: LocktClient) -> None:
    lines = sheet(row(1), row(2, accesslevels="188|Level 3", enabled="nei"), row(3, access_expires=""))
    site = await loading.read_site(client)
    assert loading.dry_run(lines, site, update=False).good
    assert (await loading.load(client, lines, site)).good


async def test_an_update_touches_only_what_the_row_holds(simulator: LocktSimulator, client: LocktClient) -> None:
    user = simulator.site.users[1693]
    user.update(custom1="kept", enabled=False, access_expires="2031-01-01 00:00:00")
    changes = {"id_num": "ZZ123", "pin": "", "accesslevels": "188", "access_expires": "", "card_num": ""}
    lines = sheet(row(1, **changes))
    site = await loading.read_site(client)
    assert loading.dry_run(lines, site, update=True).good
    report = await loading.load(client, lines, site, update=True, replace_privileges=False)
    assert (report.result.updated, report.good) == (1, True)
    assert (user["custom1"], user["enabled"], user["access_expires"]) == ("kept", False, "2031-01-01 00:00:00")
    assert (user["first_name"], user["accesslevels"]) == ("Kari", [123, 188])


async def test_a_busy_cloud_is_waited_for(
    simulator: LocktSimulator, client: LocktClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Clock:
        @staticmethod
        async def sleep(seconds: float) -> None:
            waits.append(seconds)

    site = await loading.read_site(client)
    simulator.laboratory.inject(Ill.STATUS, path="/api/v1/user", status=429, retry_after_s=9, times=2)
    monkeypatch.setattr(loading, "trio", Clock)
    report = await loading.load(client, sheet(row(1)), site)
    assert (report.good, waits) == (True, [9.0, 9.0])


async def test_a_broken_connection_says_where(simulator: LocktSimulator, client: LocktClient) -> None:
    site = await loading.read_site(client)
    lines = sheet(*(row(number) for number in range(150)))

    def cut(rows: int) -> None:
        if rows:
            simulator.laboratory.inject(Ill.RESET, path="/api/v1/user")

    report = await loading.load(client, lines, site, on_progress=cut)
    assert report.result.inserted == 100
    assert report.stopped and report.unsure_from == 102
    assert not report.good


async def test_a_block_that_fails_whole_rejects_its_rows_and_the_next_goes_on(
    simulator: LocktSimulator, client: LocktClient
) -> None:
    body = b"""{"result": ["Unable to locate template. Batch has been terminated."], "errors": []}"""
    site = await loading.read_site(client)
    simulator.laboratory.inject(Ill.STATUS, path="/api/v1/user", status=400, body=body, times=1)
    report = await loading.load(client, sheet(*(row(number) for number in range(120))), site)
    assert (len(report.rejected), report.result.inserted) == (100, 20)
    assert report.rejected[0].words == ("Unable to locate template. Batch has been terminated.",)


async def test_an_echo_that_fits_no_row_is_reported_all_the_same(
    simulator: LocktSimulator, client: LocktClient
) -> None:
    body = b'{"data": {"submitted": 1, "errors": [{"error": "Odd", "input_data": {"id_num": "Q"}}]}}'
    site = await loading.read_site(client)
    simulator.laboratory.inject(Ill.STATUS, path="/api/v1/user", status=200, body=body, times=1)
    report = await loading.load(client, sheet(row(1)), site)
    assert [(line.number, line.who, line.words) for line in report.rejected] == [(0, "Q", ("Odd",))]


# The spreadsheet


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_spreadsheets_of_every_kind(tmp_path: Path, delimiter: str, encoding: str, newline: str) -> None:
    rows = [["ID num", "First-Name", "Access Levels"], ["N1", "Åse", "A|B"], ["", "", ""], ["N2", "Øyvind", ""]]
    file = tmp_path / "users.csv"
    file.write_bytes(newline.join(delimiter.join(cells) for cells in rows).encode(encoding))
    lines = spreadsheet.read(file)
    assert [line.number for line in lines] == [2, 4]
    assert lines[0].values == {"id_num": "N1", "first_name": "Åse", "accesslevels": "A|B"}
    assert lines[1].values["first_name"] == "Øyvind"


def test_a_line_number_is_that_of_an_editor() -> None:
    lines = spreadsheet.parse('id_num,custom1\nN1,"two\nlines"\nN2,x\n')
    assert [(line.number, line.who) for line in lines] == [(2, "N1"), (4, "N2")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("id_num,frist_name\n", "Unknown column: frist_name"),
        ("id_num,id num\n", "given twice: id_num"),
        ("id_num\nN1,N2\n", "Line 2 has 2 cells"),
        ('id_num\n"N1"x\n', "Line 2 is no CSV"),
    ],
)
def test_unusable_spreadsheets(text: str, words: str) -> None:
    with pytest.raises(spreadsheet.UnusableFile, match=words):
        spreadsheet.parse(text)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "users.csv"
    with pytest.raises(spreadsheet.UnusableFile, match="cannot be read"):
        spreadsheet.read(file)
    file.write_bytes(b"\x81\x8d\xff")
    with pytest.raises(spreadsheet.UnusableFile, match="neither"):
        spreadsheet.read(file)
    monkeypatch.setattr(spreadsheet, "MAX_FILE_BYTES", 2)
    with pytest.raises(spreadsheet.UnusableFile, match="larger"):
        spreadsheet.read(file)


async def test_two_rows_alike_are_reported_each_with_its_own_line(
    simulator: LocktSimulator, client: LocktClient
) -> None:
    lines = sheet(row(1, phone="x"), row(1, phone="x"))
    report = await loading.load(client, lines, await loading.read_site(client))
    assert [rejected.number for rejected in report.rejected] == [2, 3]
