"""The API in a process of its own, for tests that kill it: `api_server.py FOLDER` forks a serving child, prints
`pid url`, and once that child is dead forks the next. The parent has everything imported, so a restart is quick.
"""

import os
import sys
from pathlib import Path

import trio

from agent.patriot.api import build_api
from agent.patriot.keys import Keys
from agent.patriot.registry import Registry
from agent.serving import listen_tcp, serve
from agent.store import Store


async def child(folder: Path) -> None:
    store = Store.open(folder / "varde.db")
    keys = Keys(folder / "keys.json")
    keys.reload()
    registry = Registry(store, folder / "out" / "clients", keys)
    await registry.reconcile(at_start=True)
    app = build_api(registry, keys, lambda method, route, status, seconds: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.run)

        async def run(task_status: trio.TaskStatus[str]) -> None:
            listener = listen_tcp("127.0.0.1", 0)
            await serve(app, listener, trio.Event(), max_body_bytes=2**40, task_status=task_status)

        print(os.getpid(), await nursery.start(run), flush=True)


def main() -> None:
    while True:
        pid = os.fork()
        if pid == 0:
            trio.run(child, Path(sys.argv[1]))
            os._exit(0)
        os.waitpid(pid, 0)


main()
