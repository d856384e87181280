"""Errors that prevent a publication."""

from __future__ import annotations

__all__ = ["ReleaseError"]


class ReleaseError(Exception):
    """A container or release must not be published, or not under this name; the message says what to do."""
