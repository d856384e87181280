"""Distinguish transient failures of a repository from permanent ones."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import botocore.exceptions
import sqlalchemy.exc

from prompt_processing.domain.errors import RetriableError
from prompt_processing.transport.refusals import explain_refusal

_LOG = logging.getLogger("lsst.activator.storage.repository_errors")

PASSING_FAILURES: tuple[type[Exception], ...] = (
    # Missing and unreachable files, refused and dropped connections, and all exceptions of `requests`.
    OSError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
)
"""Failures of the database, the object store or the network, not of the request."""

MAY_BE_PASSING: tuple[type[Exception], ...] = (*PASSING_FAILURES, ExceptionGroup)
"""Exceptions to catch before calling `is_passing`: concurrent transfers raise a group."""


@contextmanager
def passing(what: str) -> Iterator[None]:
    """Turn transient failures of a repository into `RetriableError`.

    Parameters
    ----------
    what : `str`
        Name of the operation and the repository.

    Raises
    ------
    RetriableError
        Raised in place of any of `PASSING_FAILURES`.
    """
    try:
        yield
    except MAY_BE_PASSING as error:
        if not is_passing(error):
            raise
        raise RetriableError(f"{what} failed: {_first_line(error)}") from error


def try_twice[T](action: Callable[[], T], delay: float, also: tuple[type[Exception], ...] = ()) -> T:
    """Call a function, and once more if it fails for a transient reason.

    Parameters
    ----------
    action : callable
        Function that is safe to repeat after a failure.
    delay : `float`
        Mean wait, seconds. It is jittered, because all workers of a focal
        plane see the same failure at the same moment.
    also : `tuple` of exception types, optional
        Other failures worth repeating, such as conflicts between workers.

    Returns
    -------
    result
        Return value of ``action``.
    """
    try:
        return action()
    except (*MAY_BE_PASSING, *also) as error:
        if not is_passing(error) and not isinstance(error, also):
            raise
        wait = delay * random.uniform(0.5, 1.5)
        _LOG.warning("%s; trying again in %.1f s.", _first_line(error), wait)
        time.sleep(wait)
    return action()


def is_passing(error: Exception) -> bool:
    """Return whether a failure, or every member of an exception group, is transient."""
    if isinstance(error, ExceptionGroup):
        return all(is_passing(one) for one in error.exceptions)
    return isinstance(error, PASSING_FAILURES)


def _first_line(error: Exception) -> str:
    if (refusal := explain_refusal(error)) is not None:
        return refusal
    if isinstance(error, ExceptionGroup):
        return f"{error.message}, the first: {_first_line(error.exceptions[0])}"
    # SQLAlchemy appends the whole statement and its parameters.
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
