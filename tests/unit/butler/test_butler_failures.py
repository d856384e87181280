from __future__ import annotations

from collections.abc import Callable

import butler_world as world
import pytest
import sqlalchemy.exc
from lsst.pipe.base import InvalidQuantumError

from prompt_processing.activator.services.pipelines import TaskFailedError, meaning_of_failure
from prompt_processing.butler.errors import passing, try_twice
from prompt_processing.domain.errors import NonRetriableError, RetriableError

DROPPED = sqlalchemy.exc.OperationalError("SELECT secret", {}, ConnectionError("dropped"))


def failure(cause: Exception) -> TaskFailedError:
    error = TaskFailedError("isr")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "changed", "retry"),
    [
        (ConnectionError(), False, None),
        (ConnectionError(), True, "unsafe"),
        (ConnectionError(), None, "unsafe"),
        (world.HopelessError(), False, "useless"),
        (world.HopelessError(), True, "unsafe"),
        (InvalidQuantumError(), False, "useless"),
        (NonRetriableError("full"), False, "useless"),
        (NonRetriableError("sent", "unsafe"), False, "unsafe"),
        (RetriableError("away"), False, None),
    ],
)
def test_failure_is_retriable_only_if_that_is_safe_and_useful(
    cause: Exception, changed: bool | None, retry: str | None
) -> None:
    error = meaning_of_failure(failure(cause), changed)
    if retry is None:
        assert isinstance(error, RetriableError)
    else:
        assert isinstance(error, NonRetriableError)
        assert error.retry == retry


@pytest.mark.parametrize(
    "error", [DROPPED, FileNotFoundError("gone"), ExceptionGroup("transfers", [OSError("a"), OSError("b")])]
)
def test_failures_of_the_outside_pass(error: Exception) -> None:
    with pytest.raises(RetriableError, match="Reading"), passing("Reading"):
        raise error


@pytest.mark.parametrize("error", [KeyError("x"), ExceptionGroup("mixed", [OSError("a"), ValueError("b")])])
def test_mistakes_do_not_pass(error: Exception) -> None:
    with pytest.raises(type(error)), passing("Reading"):
        raise error


def test_statements_are_not_shown() -> None:
    with pytest.raises(RetriableError) as caught, passing("Reading"):
        raise DROPPED
    assert "secret" not in caught.value.reason


def fails(times: int, error: Exception) -> Callable[[], str]:
    left = [error] * times

    def action() -> str:
        if left:
            raise left.pop()
        return "done"

    return action


def test_passing_failure_is_tried_twice_and_no_more() -> None:
    assert try_twice(fails(1, OSError("x")), 0.0) == "done"
    with pytest.raises(OSError, match="x"):
        try_twice(fails(2, OSError("x")), 0.0)


def test_mistake_is_not_tried_again() -> None:
    with pytest.raises(KeyError):
        try_twice(fails(1, KeyError("x")), 0.0)
    assert try_twice(fails(1, KeyError("x")), 0.0, also=(KeyError,)) == "done"
