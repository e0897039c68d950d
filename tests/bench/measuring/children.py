"""The processes on the other side of what is measured, so that they cost the measured one nothing but their answers.

Children are forked: they start in milliseconds, with everything imported. Whatever a row leaves running is killed with
the row's process group.
"""

import ctypes
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

_fork = multiprocessing.get_context("fork")
PATIENCE_S = 120.0


class RowFailed(Exception):
    """A row gives no figures; the text says why."""


@contextmanager
def child(work: Callable[..., None], *arguments: Any, core: int | None = None) -> Iterator["Child"]:
    """`work(pipe, *arguments)` in a process of its own, once it has sent something: `ready` is what it sent."""
    ours, theirs = _fork.Pipe()
    process = _fork.Process(target=_run, args=(work, theirs, arguments, core))
    process.start()
    theirs.close()
    try:
        made = Child(ours, process.pid or 0)
        made.ready = made.receive()
        yield made
    finally:
        process.terminate()
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
        ours.close()


class Child:
    def __init__(self, pipe: Connection, pid: int) -> None:
        self.pipe = pipe
        self.pid = pid
        self.ready: Any = None

    def ask(self, question: Any) -> Any:
        self.pipe.send(question)
        return self.receive()

    def receive(self, patience_s: float = PATIENCE_S) -> Any:
        if not self.pipe.poll(patience_s):
            raise RowFailed(f"a process on the other side said nothing for {patience_s:g} s")
        try:
            found = self.pipe.recv()
        except EOFError:
            raise RowFailed("a process on the other side has died") from None
        if isinstance(found, RowFailed):
            raise found
        return found


def _run(work: Callable[..., None], pipe: Connection, arguments: tuple[Any, ...], core: int | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    pin(core)
    try:
        work(pipe, *arguments)
    except BaseException:
        pipe.send(RowFailed(traceback.format_exc(limit=-4)))


def pin(core: int | None) -> None:
    """Keep this process to one core, counted from 0, where there are as many."""
    cores = sorted(os.sched_getaffinity(0))
    if core is not None and len(cores) > 1:
        os.sched_setaffinity(0, {cores[core % len(cores)]})


def in_process(
    work: Callable[..., Any], *arguments: Any, patience_s: float = PATIENCE_S, core: int | None = None
) -> Any:
    """What `work(*arguments)` returns, run in a process of its own: its memory, threads and core are its own."""

    def once(pipe: Connection) -> None:
        pipe.send(None)
        pipe.send(work(*arguments))

    with child(once, core=core) as made:
        return made.receive(patience_s)


def end_with_parent() -> None:
    """Have the kernel end this process when its parent dies: for what has a process group of its own."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def start_row(work: Callable[[], Any], patience_s: float) -> Any:
    """`work()` in a process group of its own, which is killed afterwards whatever became of it."""

    def once(pipe: Connection) -> None:
        os.setpgid(0, 0)
        pipe.send(None)
        pipe.send(work())

    with child(once) as made:
        try:
            return made.receive(patience_s)
        finally:
            try:
                os.killpg(made.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
