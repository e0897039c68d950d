"""The vendors, as tables: kind -> the source that reads its devices, and the simulator that stands in for them.

A new vendor is a folder with `client.py`, `source.py` and `simulator.py`, a settings class, and a line in each table.
"""

import importlib
from typing import TYPE_CHECKING, Any

from agent.alarms.model import Source
from agent.settings.sources import SourceSettings

if TYPE_CHECKING:
    from agent.vendors.lab import Simulator

SOURCES = {
    "davantis": "agent.vendors.davantis.source:DavantisSource",
    "lockt": "agent.vendors.lockt.source:LocktSource",
    "sensaphone": "agent.vendors.sensaphone.source:SensaphoneSource",
    "milestone": "agent.vendors.milestone.source:MilestoneSource",
}

SIMULATORS = {
    "davantis": "agent.vendors.davantis.simulator:DavantisSimulator",
    "lockt": "agent.vendors.lockt.simulator:LocktSimulator",
    "sensaphone": "agent.vendors.sensaphone.simulator:SensaphoneSimulator",
    "milestone": "agent.vendors.milestone.simulator:MilestoneSimulator",
}


def build(settings: SourceSettings) -> Source:
    """The source of `settings`; no I/O. Only the vendors in use are imported: memory on a small box."""
    source: Source = _load(SOURCES[settings.kind])(settings)
    return source


def build_simulator(kind: str) -> "Simulator":
    """A simulator of the vendor with its embedded defaults; it listens once `serve` runs."""
    simulator: Simulator = _load(SIMULATORS[kind])()
    return simulator


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
