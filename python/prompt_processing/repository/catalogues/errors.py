"""Problems of a reference catalogue."""

from __future__ import annotations


class CatalogueError(ValueError):
    """A reference catalogue that cannot be imported; the message says what to change."""
