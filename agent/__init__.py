"""Varde: the agent on the box at an alarmed site."""

__version__ = "1.0.0"
