"""A run that is killed at any point, and what the next one makes of it."""

from typing import Any

import pytest
import trio

from agent.patriot.share import open_share

SHARE_CALLS = {"stat", "read", "fetch", "write_new", "rename", "delete"}
FOREIGN = "<Row><__id>{0}BASE99</__id><Name>theirs</Name></Row>"


class Killed(BaseException):
    """The process ends here."""


class Fuse:
    """Counts what touches the share or the store's writer, and kills after `burns_at` of it."""

    def __init__(self, burns_at: int) -> None:
        self.left = burns_at

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class Fused:
    """`inner` with every awaited call of `names` followed by the fuse."""

    def __init__(self, inner: Any, names: set[str], fuse: Fuse) -> None:
        self._inner, self._names, self._fuse = inner, names, fuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name not in self._names:
            return value

        async def call(*arguments: Any, **options: Any) -> Any:
            result = await value(*arguments, **options)
            self._fuse.burn()
            return result

        return call


async def killed_run(box, burns_at: int) -> bool:
    """A run that dies after so many touches; False where it was done before."""
    fuse = Fuse(burns_at)
    box.restart(Fused(open_share(box.share_settings), SHARE_CALLS, fuse), Fused(box.store, {"write"}, fuse))
    try:
        await box.batches.run_once("doomed")
    except Killed:
        return True
    return False


def add_theirs(box, number: int) -> None:
    """Another agent adds a row to the file that lies there."""
    path = box.folder / "clients.xml"
    text = path.read_text() if path.exists() else "<Clients></Clients>"
    path.write_text(text.replace("</Clients>", FOREIGN.format(number) + "</Clients>"))


async def test_killed_after_anything_a_run_does(box):
    """Patriot never answers, so whatever was ever registered must lie in the file at the end of each round."""
    expected: dict[str, str] = {}
    killed = True
    burns_at = 0
    while killed:
        burns_at += 1
        add_theirs(box, burns_at)
        await box.put(1, f"changed {burns_at}")
        await box.put(100 + burns_at, f"new {burns_at}")
        expected |= {f"{burns_at}BASE99": "theirs", "1BASE11": f"changed {burns_at}"}
        expected[f"{100 + burns_at}BASE11"] = f"new {burns_at}"
        killed = await killed_run(box, burns_at)
        box.restart()
        await box.run()
        assert box.lies_there() == expected, f"killed after {burns_at}"
        assert box.waiting() == []
        assert not list(box.folder.glob("*.tmp")), f"killed after {burns_at}"
        assert await box.state(1) == "pending_import"
    assert burns_at > 20
    outcomes = await box.store.read(lambda c: {row[0] for row in c.execute("SELECT outcome FROM batches")})
    assert outcomes == {"ok", "interrupted"}


async def test_killed_between_rename_and_commit_the_arrived_batch_is_made_up_for(box):
    """Its results count, and it is not sent a second time."""
    await box.put(1, "one")
    for burns_at in range(1, 60):
        await killed_run(box, burns_at)
        if (box.folder / "clients.xml").exists():
            break
    assert await box.state(1) == "new"
    box.success("1BASE11")
    box.restart()
    await box.look()
    assert await box.state(1) == "imported"
    assert (await box.batches.last())["outcome"] == "ok"
    assert box.waiting() == []
    assert (await box.run()).clients == 0
    assert box.rotated() == []


async def test_a_file_taken_away_by_a_killed_clean_up_comes_back(box):
    await box.put(1, "one")
    file = box.settings.paths.clients / "Alarm24" / "1.xml"
    file.rename(file.with_name(".1.xml.taken"))
    box.restart()
    await box.run()
    assert box.lies_there() == {"1BASE11": "one"}
    assert list(file.parent.iterdir()) == []


async def test_scratch_of_a_killed_run_is_removed(box):
    ready = box.settings.paths.ready.parent
    (ready / ".scratch-old").mkdir(parents=True)
    (ready / ".scratch-file").touch()
    await box.put(1)
    await box.run()
    assert [path.name for path in ready.iterdir()] == ["clients.xml"]


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.01])
async def test_cancelled_at_some_moment(box, seconds):
    """As a stop does it."""
    await box.put(1, "one")
    with trio.move_on_after(seconds):
        await box.batches.run_once("stopped")
    box.restart()
    await box.run()
    assert box.lies_there() == {"1BASE11": "one"}
