"""`varde keys` on a real file, `varde clients` on a real control socket."""

import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from click.testing import CliRunner, Result

from agent.cli import root
from agent.patriot.keyfile import ApiKey
from agent.patriot.keys import Keys
from agent.patriot.registry import Registry
from agent.serving import listen_unix, serve
from agent.site import Site
from agent.web.apps import build_control


@pytest.fixture
def config(tmp_path: Path, key_file: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(f'[paths]\nrun_dir = "{tmp_path}"\n[patriot]\nkeys_file = "{key_file}"\n')
    return path


@pytest.fixture
def varde(config: Path) -> Callable[..., Result]:
    def run(*words: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(root, [*words, "--config", str(config)], input=answer)

    return run


class TestKeys:
    def test_list_shows_states_and_no_secret(self, varde: Callable[..., Result]) -> None:
        result = varde("keys", "list")
        assert result.exit_code == 0
        for word in ("Alarm24", "BASE11", "enabled", "disabled", "2099-01-01"):
            assert word in result.stdout
        assert "secret" not in result.output
        listed = json.loads(varde("keys", "list", "--json").stdout)
        assert listed["keys"][2] == {
            "key_name": "Gone",
            "port": "BASE06",
            "state": "disabled",
            "valid_to": None,
            "installer": None,
        }

    def test_an_entry_whose_time_is_over_is_expired(self, varde: Callable[..., Result], key_file: Path) -> None:
        entries = [
            {"key_name": "A", "key": "a", "port": "P", "valid_to": "2020-01-01T00:00:00Z"},
            {"key_name": "B", "key": "b", "port": "Q", "valid_to": "2020-01-01T00:00:00Z", "enabled": False},
            {"key_name": ["C"], "key": "c", "port": "R"},
        ]
        key_file.write_text(json.dumps(entries))
        listed = json.loads(varde("keys", "list", "--json").stdout)
        assert [key["state"] for key in listed["keys"]] == ["expired", "disabled", "refused"]

    def test_list_names_what_is_refused(self, varde: Callable[..., Result], key_file: Path) -> None:
        key_file.write_text(json.dumps([{"key_name": "A", "key": "", "port": "P"}]))
        result = varde("keys", "list")
        assert result.exit_code == 1
        assert "refused" in result.stdout and "key is empty" in result.stderr

    def test_add_prints_the_key_alone_on_stdout(self, varde: Callable[..., Result], keys: Keys) -> None:
        words = ("--port", "BASE20", "--like", "Alarm24", "--valid-to", "2098-01-01T00:00:00Z")
        result = varde("keys", "add", "Ny AS", *words)
        assert result.exit_code == 0
        keys.reload()
        key = keys.authenticate(result.stdout.strip())
        assert key is not None and key.name == "Ny AS" and key.valid_to is not None
        assert key.injection.elements["Installer"] == "Østfold Sikkerhet"

    def test_rotate_and_disable(self, varde: Callable[..., Result], keys: Keys) -> None:
        rotated = varde("keys", "rotate", "Alarm24").stdout.strip()
        keys.reload()
        assert keys.authenticate(rotated) is not None and keys.authenticate("secret-alarm24") is None
        assert varde("keys", "disable", "Alarm24").exit_code == 0
        keys.reload()
        assert keys.authenticate(rotated) is None

    def test_what_cannot_be_done_is_exit_1_and_a_sentence(self, varde: Callable[..., Result]) -> None:
        for words in (
            ("add", "Alarm24", "--port", "P"),
            ("add", "Ny", "--port", "1BASE11"),
            ("add", "Ny", "--port", "P", "--valid-to", "soon"),
            ("add", "Ny", "--port", "P", "--like", "Nobody"),
            ("rotate", "Nobody"),
            ("disable", "Nobody"),
        ):
            result = varde("keys", *words)
            assert result.exit_code == 1 and result.stdout == "" and result.stderr.startswith("Not "), words

    def test_wrong_usage_is_exit_2(self, varde: Callable[..., Result]) -> None:
        assert varde("keys", "add", "Ny").exit_code == 2
        assert varde("keys", "remove", "Ny").exit_code == 2


Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def on_daemon(registry: Registry, varde: Callable[..., Result], tmp_path: Path) -> AsyncIterator[Run]:
    """`varde …` while the agent API is served on the control socket."""
    paths = SimpleNamespace(ready=tmp_path / "ready.xml")
    settings = SimpleNamespace(paths=paths, site=SimpleNamespace(id="t"))
    batches = SimpleNamespace(publish_again=partial(trio.sleep, 0))
    site = cast(Site, SimpleNamespace(store=registry.store, registry=registry, settings=settings, batches=batches))
    stop = trio.Event()

    async def run(task_status: trio.TaskStatus[str]) -> None:
        listener = listen_unix(tmp_path / "control.sock")
        await serve(cast(Any, build_control(site)), listener, stop, task_status=task_status)

    async def call(*words: str, answer: str | None = None) -> Result:
        return await trio.to_thread.run_sync(lambda: varde(*words, answer=answer))

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        yield call
        stop.set()


class TestClients:
    async def test_the_list_has_states_and_no_names(
        self, on_daemon: Run, registry: Registry, alarm24: ApiKey, sql: Callable[..., Any]
    ) -> None:
        for client_id in (1, 2):
            await registry.put_client(alarm24, client_id, {"Name": "Synnøve"})
        await sql("UPDATE clients SET state = 'import_failed', detail = 'No such port' WHERE client_id = 2")
        result = await on_daemon("clients")
        assert result.exit_code == 0
        assert "1BASE11" in result.stdout and "No such port" in result.stdout and "Synn" not in result.stdout
        failed = json.loads((await on_daemon("clients", "--state", "import_failed", "--json")).stdout)
        assert [client["client_id"] for client in failed["clients"]] == [2]
        assert (await on_daemon("clients", "--state", "lost")).exit_code == 2

    async def test_more_than_a_page_is_listed(
        self, on_daemon: Run, registry: Registry, alarm24: ApiKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agent.cli.clients.PAGE", 2)
        for client_id in range(1, 6):
            await registry.put_client(alarm24, client_id, {"Name": "A"})
        listed = json.loads((await on_daemon("clients", "--json")).stdout)
        assert [client["client_id"] for client in listed["clients"]] == [1, 2, 3, 4, 5]

    async def test_lock_and_unlock(self, on_daemon: Run, registry: Registry, alarm24: ApiKey) -> None:
        await registry.put_client(alarm24, 1, {"Name": "A"})
        locked = await on_daemon("clients", "lock", "1", "--key", "Alarm24", "--for", "600")
        assert locked.exit_code == 0, locked.output
        assert (await registry.get(alarm24, 1)).locked_until is not None
        assert (await on_daemon("clients", "unlock", "1", "--key", "Alarm24")).exit_code == 0
        assert (await registry.get(alarm24, 1)).locked_until is None
        absent = await on_daemon("clients", "lock", "9", "--key", "Alarm24", "--for", "600")
        assert absent.exit_code == 1 and "no client 9" in absent.stderr

    async def test_removed_and_done(
        self, on_daemon: Run, registry: Registry, alarm24: ApiKey, sql: Callable[..., Any]
    ) -> None:
        assert "Nothing to remove" in (await on_daemon("clients", "--removed")).stdout
        await registry.put_client(alarm24, 1, {"Name": "A"})
        await sql("UPDATE clients SET sent_revision = 1")
        await registry.delete_client(alarm24, 1)
        assert "1BASE11" in (await on_daemon("clients", "--removed")).stdout
        assert (await on_daemon("clients", "done", "1BASE11")).exit_code == 0
        assert json.loads((await on_daemon("clients", "--removed", "--json")).stdout) == {"removed": []}
        assert (await on_daemon("clients", "done", "1BASE11")).exit_code == 1

    async def test_erase_asks_first(self, on_daemon: Run, registry: Registry, alarm24: ApiKey) -> None:
        await registry.put_client(alarm24, 1, {"Name": "A"})
        refused = await on_daemon("clients", "erase", "1", "--key", "Alarm24", answer="n\n")
        assert refused.exit_code == 1
        assert (await registry.get(alarm24, 1)).revision == 1
        assert (await on_daemon("clients", "erase", "1", "--key", "Alarm24", "--yes")).exit_code == 0
        assert (await on_daemon("clients", "erase", "1", "--key", "Alarm24", "--yes")).exit_code == 1

    @pytest.mark.filterwarnings("ignore:unclosed <socket")  # httpcore forgets the socket that could not be connected
    def test_without_a_daemon_it_is_exit_3(self, varde: Callable[..., Result]) -> None:
        result = varde("clients")
        assert result.exit_code == 3 and "not running" in result.stderr
        del result
        gc.collect()
