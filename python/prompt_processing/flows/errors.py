"""Errors that end a flow."""

from __future__ import annotations

__all__ = ["FlowError"]


class FlowError(Exception):
    """A flow cannot start or go on; the message says why and what to do."""
