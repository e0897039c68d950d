"""Every setting of the agent: typed, with its default, unit and help; all faults reported at once with their place.

    agent.toml ─┐
    VARDE_… ────┼─merge→ Settings (frozen)      or  ConfigurationError(every fault, no secret's value)
    credentials ┘

`models.py` holds the settings themselves, `sources.py` and `sinks.py` those of each kind of far end, `load.py` reads
and merges, `report.py` words the faults.
"""

from agent.settings.load import load
from agent.settings.models import Settings
from agent.settings.report import ConfigFault, ConfigurationError

__all__ = ["ConfigFault", "ConfigurationError", "Settings", "load"]
