"""A site with its far ends, the shim in front of its disk, a small disk, and one source of chance."""

import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from harness import Agent
from hostile import LONG, SEED, Site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long forms take what they take; a caller whose daemon dies at this very moment is no leak.

    httpx leaves its socket to the collector where the far end dies between its own connect and its first word.
    """
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"))
        if LONG and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with trio.open_nursery() as nursery:
        made = Site(tmp_path, nursery)
        try:
            yield made
        finally:
            made.agent.end()
            nursery.cancel_scope.cancel()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path)
    made.configure()
    yield made
    made.end()


@pytest.fixture
def chance() -> random.Random:
    return random.Random(SEED)


@pytest.fixture(scope="session")
def fuse(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The library of `fuse.c`, for LD_PRELOAD."""
    if shutil.which("gcc") is None:
        pytest.fail("gcc is missing: apt-get install gcc libc6-dev")
    library = tmp_path_factory.mktemp("fuse") / "fuse.so"
    source = Path(__file__).with_name("fuse.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return str(library)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    folder = tmp_path / "state"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "varde-test", folder], capture_output=True)
    if done.returncode:
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
