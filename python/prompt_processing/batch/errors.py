"""Errors that end a run before or during its execution."""

from __future__ import annotations

__all__ = ["BatchError"]


class BatchError(Exception):
    """A run cannot start or go on; the message says why and what to do."""
