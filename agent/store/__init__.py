"""SQLite: open, migrate, one writer. Everything durable stands in `varde.db`; the schema is in `schema.py`."""

from agent.store.database import Store, StoreError

__all__ = ["Store", "StoreError"]
