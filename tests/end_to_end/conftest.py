"""`varde run` under a temporary folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Agent


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path)
    made.configure()
    yield made
    made.end()
