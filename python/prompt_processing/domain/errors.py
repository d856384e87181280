"""Failures of a visit, classified by what a retry would do.

Each is raised where the cause is known, and translated once, where the outcome
of the visit is decided.
"""

from __future__ import annotations

from typing import Literal

RetryAdvice = Literal["useless", "unsafe"]
"""Reason why a failed visit must not be sent again."""


class PromptError(Exception):
    """Base of all failures that the service classifies.

    Parameters
    ----------
    reason : `str`
        One sentence for operators: what failed, with the key, repository or
        topic, and without any credential.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MalformedMessageError(PromptError):
    """The bytes are not a message of the expected form."""


class InvalidVisitError(PromptError):
    """A well-formed visit with unusable fields."""


class IgnorableVisitError(PromptError):
    """A valid visit that the configuration skips."""


class StaleVisitError(PromptError):
    """A visit that waited longer than the configured expiration."""


class RetriableError(PromptError):
    """A transient failure; nothing permanent was written."""


class NonRetriableError(PromptError):
    """A failure after which the visit must not be tried again.

    Parameters
    ----------
    reason : `str`
        What failed.
    retry : {"useless", "unsafe"}
        ``useless`` if the same failure would happen again, ``unsafe`` if
        permanent changes were, or may have been, made outside.
    """

    def __init__(self, reason: str, retry: RetryAdvice = "useless") -> None:
        super().__init__(reason)
        self.retry: RetryAdvice = retry


class RepositoryProblemError(RuntimeError):
    """A repository, an export or a database is unusable; the message says what to do."""
