"""What can go wrong with a visit, by what it means for a retry.

Each is raised where the cause is known and translated once, where the outcome
of the visit is decided.
"""

from __future__ import annotations

from typing import Literal

RetryAdvice = Literal["useless", "unsafe"]
"""Why a failed visit must not be sent again."""


class PromptError(Exception):
    """Base of all failures that the service has a name for.

    Parameters
    ----------
    reason : `str`
        One sentence for operators: what failed, with the key, repository or
        topic it failed on, and never a credential.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MalformedMessageError(PromptError):
    """The bytes are not the message that they should be."""


class InvalidVisitError(PromptError):
    """A well-formed visit whose fields cannot be used."""


class IgnorableVisitError(PromptError):
    """A valid visit that the configuration says to skip."""


class StaleVisitError(PromptError):
    """A visit that waited so long that nobody needs it any more."""


class RetriableError(PromptError):
    """A failure for a passing reason; nothing permanent was written."""


class NonRetriableError(PromptError):
    """A failure after which the visit must not be tried again.

    Parameters
    ----------
    reason : `str`
        What failed.
    retry : {"useless", "unsafe"}
        ``useless`` where the same would happen again, ``unsafe`` where
        something outside was, or may have been, changed permanently.
    """

    def __init__(self, reason: str, retry: RetryAdvice = "useless") -> None:
        super().__init__(reason)
        self.retry: RetryAdvice = retry


class RepositoryProblemError(RuntimeError):
    """A repository, an export or a database is unusable as it is; the message says what to do."""
