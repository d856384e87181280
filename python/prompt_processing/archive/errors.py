"""Errors of the archive."""

from __future__ import annotations

from prompt_processing.domain.errors import RepositoryProblemError

__all__ = ["ArchiveError"]


class ArchiveError(RepositoryProblemError):
    """A night cannot be archived, or an archive is damaged; the message says what to do."""
