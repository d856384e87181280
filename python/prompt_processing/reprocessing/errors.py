"""Errors of reprocessing."""

from __future__ import annotations

from prompt_processing.domain.errors import RepositoryProblemError

__all__ = ["ReprocessingError"]


class ReprocessingError(RepositoryProblemError):
    """A night cannot be processed again or compared; the message says what to do."""
