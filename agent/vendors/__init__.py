"""The vendors, as a table: kind -> the source that reads its devices.

A new vendor is a folder with `client.py`, `source.py` and `simulator.py`, a settings class, and a line here.
"""

import importlib

from agent.alarms.model import Source
from agent.settings.sources import SourceSettings

SOURCES = {
    "davantis": "agent.vendors.davantis.source:DavantisSource",
    "lockt": "agent.vendors.lockt.source:LocktSource",
    "sensaphone": "agent.vendors.sensaphone.source:SensaphoneSource",
    "milestone": "agent.vendors.milestone.source:MilestoneSource",
}


def build(settings: SourceSettings) -> Source:
    """The source of `settings`; no I/O. Only the vendors in use are imported: memory on a small box."""
    module, _, name = SOURCES[settings.kind].partition(":")
    source: Source = getattr(importlib.import_module(module), name)(settings)
    return source
