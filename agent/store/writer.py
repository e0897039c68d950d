"""The one writer: a thread that owns the only writing connection and commits what waits in groups.

    task ─write(work)→ queue ─→ thread: BEGIN · savepoint + work · savepoint + work · COMMIT ─→ tasks go on

A commit costs one fsync whoever waits for it, so eight producers share one. Each piece of work has a savepoint of its
own: one that fails is rolled back alone. Nobody goes on before the commit.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import outcome
import trio

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

MAX_GROUP = 500


class Writer:
    """Runs work on `connection`, which is its own from then on, in its own thread, from construction until `close`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._connection = connection
        self._thread = threading.Thread(target=self._run, name="varde-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Work[T]) -> T:
        """The result of `work`, after the commit that holds it. Raises what `work` or the commit raised.

        Not cancellable: once handed over, the work happens, and who asked for it must know.
        """
        request = _Request(work, trio.lowlevel.current_trio_token())
        self._queue.put(request)
        with trio.CancelScope(shield=True):
            await request.done.wait()
        assert request.outcome is not None
        result: T = request.outcome.unwrap()
        return result

    def close(self) -> None:
        """Finish what was handed over, close the connection, end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                group, last = self._next_group()
                if group:
                    _commit(self._connection, group)
                if last:
                    return
        finally:
            self._connection.close()

    def _next_group(self) -> tuple[list["_Request"], bool]:
        first = self._queue.get()
        group: list[_Request] = []
        while first is not None:
            group.append(first)
            if len(group) == MAX_GROUP:
                return group, False
            try:
                first = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True


class _Request:
    def __init__(self, work: Work[Any], token: trio.lowlevel.TrioToken) -> None:
        self.work = work
        self.token = token
        self.done = trio.Event()
        self.outcome: outcome.Outcome[Any] | None = None

    def answer(self) -> None:
        try:
            self.token.run_sync_soon(self.done.set)
        except trio.RunFinishedError:
            pass  # the process ends; nobody is left to hear it


def _commit(connection: sqlite3.Connection, group: list[_Request]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for request in group:
            request.outcome = outcome.capture(_in_savepoint, connection, request.work)
            if not connection.in_transaction:
                # SQLite itself gave the whole transaction up (disk full, I/O error): nothing of the group stands.
                raise sqlite3.OperationalError(_reason(request.outcome))
        connection.execute("COMMIT")
    except BaseException as error:
        _roll_back(connection)
        for request in group:
            request.outcome = outcome.Error(error)
    for request in group:
        request.answer()


def _roll_back(connection: sqlite3.Connection) -> None:
    """On a failing disk this may fail too; SQLite has then given the transaction up by itself."""
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _in_savepoint(connection: sqlite3.Connection, work: Work[T]) -> T:
    connection.execute("SAVEPOINT work")
    try:
        result = work(connection)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO work")
            connection.execute("RELEASE work")
        raise
    connection.execute("RELEASE work")
    return result


def _reason(result: outcome.Outcome[Any]) -> str:
    return str(result.error) if isinstance(result, outcome.Error) else "the transaction was given up"
