"""What can be wrong with something that is to be published."""

from __future__ import annotations

__all__ = ["ReleaseError"]


class ReleaseError(Exception):
    """Something must not be published, or not under that name; the message says why and what to do."""
