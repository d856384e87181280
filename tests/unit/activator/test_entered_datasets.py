"""What a visit entered is remembered until something fails; then the repository is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from prompt_processing.activator.services.entered_datasets import EnteredDatasets


def entered(stored: tuple[Any, ...] = ()) -> tuple[EnteredDatasets, Mock]:
    local = Mock(datasets=Mock(return_value=list(stored)))
    return EnteredDatasets(local), local


ONE, TWO = (SimpleNamespace(run=run) for run in ("one", "two"))


def test_datasets_of_the_runs_are_returned_without_a_query() -> None:
    datasets, local = entered()
    for ref in (ONE, TWO):
        with datasets.adding() as added:
            added.append(ref)
    assert datasets.of_runs(["one", "two"]) == [ONE, TWO]
    assert datasets.of_runs(["two"]) == [TWO]
    local.datasets.assert_not_called()


def test_repository_is_asked_after_an_error_and_stays_so() -> None:
    datasets, _ = entered((ONE, TWO))
    with pytest.raises(ZeroDivisionError), datasets.adding():
        raise ZeroDivisionError
    with datasets.adding() as added:
        added.append(TWO)
    assert datasets.of_runs(["one", "two"]) == [ONE, TWO]


def test_repository_is_asked_while_something_is_being_entered() -> None:
    """An interruption may come at any time."""
    datasets, _ = entered((ONE,))
    with datasets.adding():
        assert datasets.of_runs(["one"]) == [ONE]


def test_next_visit_begins_with_nothing() -> None:
    datasets, local = entered((ONE,))
    datasets.forget()
    datasets.clear()
    assert datasets.of_runs(["one"]) == []
    local.datasets.assert_not_called()
