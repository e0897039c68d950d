"""A registry on a real store, and the API served over real HTTP on a free port."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from agent.patriot.api import build_api
from agent.patriot.keyfile import ApiKey
from agent.patriot.keys import Keys
from agent.patriot.registry import Registry
from agent.serving import listen_tcp, serve
from agent.store import Store

KEY_FILE = [
    {
        "key_name": "Alarm24",
        "key": "secret-alarm24",
        "enabled": True,
        "valid_to": "2099-01-01T00:00:00Z",
        "port": "BASE11",
        "installer": {"User_Name": "Østfold Sikkerhet", "Email": "post@example.no"},
        "xml": {
            "Installer": "Østfold Sikkerhet",
            "UseGlobCallOuts": True,
            "ClientGroupings": {"ClientGrouping": [{"Description": "Alarm24"}, {"Description": "Import"}]},
        },
    },
    {"key_name": "InstallerX", "key": "secret-x", "enabled": True, "port": "BASE05"},
    {"key_name": "Gone", "key": "secret-gone", "enabled": False, "port": "BASE06"},
    {"key_name": "Expired", "key": "secret-expired", "enabled": True, "valid_to": "2020-01-01", "port": "BASE07"},
]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(KEY_FILE), "utf-8")
    return path


@pytest.fixture
def keys(key_file: Path) -> Keys:
    loaded = Keys(key_file)
    loaded.reload()
    return loaded


@pytest.fixture
def alarm24(keys: Keys) -> ApiKey:
    key = keys.by_name("Alarm24")
    assert key is not None
    return key


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "varde.db")
    yield opened
    opened.close()


@pytest.fixture
def clients_dir(tmp_path: Path) -> Path:
    return tmp_path / "out" / "clients"


@pytest.fixture
async def registry(store: Store, clients_dir: Path, keys: Keys) -> Registry:
    made = Registry(store, clients_dir, keys)
    await made.reconcile(at_start=True)
    return made


@pytest.fixture
def sql(store: Store) -> Callable[..., Any]:
    """Run one statement on the store's own writer; the rows."""

    async def run(statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return await store.write(lambda connection: [tuple(row) for row in connection.execute(statement, values)])

    return run


@dataclass
class Api:
    """The served API, a caller with Alarm24's key, and what was counted."""

    url: str
    http: httpx.AsyncClient
    requests: list[tuple[str, str, int]] = field(default_factory=list)

    async def call(self, method: str, path: str, body: Any = None, **headers: Any) -> httpx.Response:
        """Headers are given as X_Client_Id=9998."""
        named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        return await self.http.request(method, path, json=body, headers=named)

    async def raw(self, method: str, path: str, content: bytes, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, path, content=content, headers=named)


@pytest.fixture
async def api(registry: Registry, keys: Keys) -> AsyncIterator[Api]:
    requests: list[tuple[str, str, int]] = []
    app = build_api(
        registry, keys, lambda method, route, status, seconds: requests.append((method, route, status)), ["127.0.0.9"]
    )
    stop = trio.Event()

    async def run(task_status: trio.TaskStatus[str]) -> None:
        await serve(app, listen_tcp("127.0.0.1", 0), stop, max_body_bytes=2**40, task_status=task_status)

    # A nursery of its own, so that the server has ended by its stop event before the next test begins.
    async with trio.open_nursery() as nursery:
        url = await nursery.start(run)
        bearer = {"Authorization": "Bearer secret-alarm24"}
        async with httpx.AsyncClient(base_url=url, headers=bearer, timeout=30, trust_env=False, verify=False) as http:
            yield Api(url, http, requests)
        stop.set()
