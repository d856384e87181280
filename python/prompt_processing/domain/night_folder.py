"""Names in the folder that a night of the demo leaves, for all that read it."""

from __future__ import annotations

__all__ = ["ALERTS", "APDB", "DATABASE", "OUTCOMES", "REPOSITORY"]

DATABASE = "night.db"
"""Database of nights, SQLite."""
OUTCOMES = "outcomes"
"""Outcomes as the workers publish them."""
REPOSITORY = "repository"
"""Butler repository of the kept outputs."""
APDB = "apdb.db"
"""Kept APDB, SQLite."""
ALERTS = "alerts"
"""Alerts, one file each."""
