"""The service round the batches: log-ins that must not lock an account, stops that nothing delays, memory."""

# ruff: noqa: ASYNC110 - states are waited for by looking, with a deadline

import json
import logging
import os
import tracemalloc
from datetime import UTC, datetime

import pytest
import trio
from click.testing import CliRunner
from pydantic import SecretStr

from agent.cli import batches as commands
from agent.faults import Fault, FaultClass
from agent.patriot.batch_views import batch, list_batches
from agent.patriot.gather import Gatherer, Spool
from agent.patriot.share import open_share
from agent.patriot.share.health import ShareHealth
from agent.patriot.simulator import PatriotSimulator


@pytest.mark.parametrize("dialect", ["smb2", "smb3"])
async def test_a_refused_log_in_is_tried_three_times_and_again_when_told(make_box, smbd, dialect):
    settings = smbd.settings(dialect=dialect).model_copy(update={"password": SecretStr("wrong")})
    box = make_box(folder=smbd.share, share_settings=settings)
    await box.put(1)
    for _ in range(6):
        batch = await box.batches.run_once("test")
        assert batch.outcome == "authentication" and "share_password" in batch.detail
    assert smbd.logins() == 3
    box.batches.retry_now()
    await box.batches.run_once("test")
    assert smbd.logins() == 4
    box.share_settings = smbd.settings(dialect=dialect)
    box.restart(open_share(box.share_settings))
    assert (await box.run()).clients == 1


async def test_five_minutes_later_the_log_in_is_tried_again(autojump_clock):
    health = ShareHealth("smb", "//x/y", lambda: datetime.now(UTC), lambda up: None)
    tried: list[float] = []

    async def use() -> None:
        with pytest.raises(Fault), health.asking():
            tried.append(trio.current_time())
            raise Fault(FaultClass.AUTHENTICATION, "refused")

    start = trio.current_time()
    for _ in range(100):
        await use()
        await trio.sleep(30)
    for first in tried:
        assert sum(first <= moment < first + 300 for moment in tried) <= 3
    assert len(tried) > 20
    health.retry_now()
    tried.clear()
    await use()
    assert len(tried) == 1 and start < tried[0]


@pytest.mark.parametrize("dialect", ["smb2", "smb3"])
async def test_a_hung_share_does_not_delay_a_stop(make_box, smbd, dialect):
    box = make_box(folder=smbd.share, share_settings=smbd.settings(dialect=dialect, timeout_s=3000), every_s=0.2)
    await box.put(1)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.batches.run)
            while not (smbd.share / "clients.xml").exists():
                await trio.sleep(0.01)
            smbd.freeze()
            await box.put(2)
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
    smbd.thaw()


async def test_the_service_sends_and_reads_by_itself(make_box):
    box = make_box(every_s=0.2, max_clients_per_run=2)
    box.settings = box.settings.model_copy(
        update={"share": box.settings.share.model_copy(update={"results_interval_s": 0.1})}
    )
    box.restart()
    patriot = PatriotSimulator(box.folder, delay_s=0, failures={"3BASE11": "avvist: ukjent sone"}, silent={"4BASE11"})
    for client in range(1, 5):
        await box.put(client)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.batches.run)
            nursery.start_soon(patriot.run)
            expected = ["imported", "imported", "import_failed", "pending_import"]
            while [await box.state(client) for client in range(1, 5)] != expected:
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
    assert (await box.row(3))["detail"] == "3BASE11 avvist: ukjent sone"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize("appends", [True, False])
async def test_the_simulated_patriot_is_understood(box, encoding, appends):
    patriot = PatriotSimulator(box.folder, encoding=encoding, appends=appends, failures={"2BASE11": "på feil sted"})
    for number in range(3):
        await box.put(1, f"one {number}")
        await box.put(2, f"two {number}")
        await box.run()
        assert patriot.import_now()
        await box.look()
        assert [await box.state(1), await box.state(2)] == ["imported", "import_failed"]
    assert (await box.row(2))["detail"] == "2BASE11 på feil sted"


def test_memory_does_not_grow_with_the_number_of_files(tmp_path):
    """Twenty times as many files waiting take no more memory."""
    peaks = []
    for count in (200, 4_000):
        folder = tmp_path / str(count) / "Other"
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.xml").write_text(
                f"<Clients><Row><__id>{number}BASE77</__id><SPPage>{'x' * 200}</SPPage></Row></Clients>"
            )
        spool = Spool(tmp_path / "ready")
        tracemalloc.start()
        taken = Gatherer(folder.parent, lambda places: dict.fromkeys(places)).take(spool, 100, {})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        spool.close()
        assert taken.clients == 100
    assert peaks[1] < peaks[0] + 100_000


async def test_views_and_commands_show_the_batches(box, monkeypatch):
    await box.put(1)
    await box.put(2)
    await box.run()
    box.results("1BASE11 Completed processing client", "2BASE11 nei")
    await box.look()
    found = await box.store.read(lambda c: list_batches(c, rows=True))
    assert [b["id"] for b in found] == [1]
    assert found[0]["results"] == {"pending_import": 0, "imported": 1, "import_failed": 1, "superseded": 0}
    assert [(row["import_id"], row["result"], row["detail"]) for row in found[0]["rows"]] == [
        ("1BASE11", "imported", ""),
        ("2BASE11", "import_failed", "2BASE11 nei"),
    ]
    answers = {
        "/api/v1/batches": {"batches": found, "next": 1},
        "/api/v1/batches/1": await box.store.read(lambda c: batch(c, 1)),
    }
    monkeypatch.setattr(commands, "call", lambda ctx, method, path, json=None, **options: answers[path])
    run = CliRunner().invoke
    shown = run(commands.batches, []).output
    assert "CLIENTS" in shown and "test" in shown
    assert json.loads(run(commands.batches, ["--json"]).output)["batches"][0]["clients"] == 2
    assert "2BASE11 nei" in run(commands.batches, ["1"]).output


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ({"id": 4, "outcome": "ok", "clients": 3, "carried": 2, "detail": "rotated to x"}, 0, "Batch 4: 3 clients"),
        ({"id": None, "outcome": "ok", "clients": 0, "carried": 0, "detail": ""}, 0, "Nothing to send"),
        ({"id": 5, "outcome": "slow", "clients": 0, "carried": 0, "detail": "No answer."}, 1, "failed (slow)"),
    ],
)
def test_combine_says_what_became_of_it(monkeypatch, answer, code, words):
    asked = []
    monkeypatch.setattr(commands, "call", lambda ctx, method, path, **options: asked.append((method, path)) or answer)
    result = CliRunner().invoke(commands.combine, [])
    assert (result.exit_code, words in result.output) == (code, True)
    assert json.loads(CliRunner().invoke(commands.combine, ["--json"]).output) == answer
    assert asked == [("POST", "/api/v1/batches")] * 2


async def test_no_personal_data_and_no_secret_in_any_log(box, caplog):
    caplog.set_level(logging.DEBUG, "varde")
    await box.put(1, "Ola Nordmann")
    (box.settings.paths.clients / "Alarm24" / "x.xml").write_text("<Clients><Row><__id>2</__id>Ola Nordmann<")
    await box.run()
    box.results("1BASE11 Ola Nordmann mangler")
    await box.look()
    os.truncate(box.folder / "clients.xml", 100)
    await box.put(3, "Ola Nordmann")
    await box.run()
    assert "Nordmann" not in caplog.text and "secret-alarm24" not in caplog.text
