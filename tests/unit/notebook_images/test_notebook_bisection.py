"""Which changes break something: found with few trials, and never more than needed."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

SCRIPTS = Path(__file__).parents[3] / "notebook-images" / "common" / "common-scripts"


@pytest.fixture(scope="module")
def bisection() -> ModuleType:
    sys.path.insert(0, str(SCRIPTS))
    try:
        spec = importlib.util.spec_from_file_location("bisection", SCRIPTS / "bisection.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(SCRIPTS))


@given(st.integers(1, 40), st.data())
def test_changes_that_break_only_together_are_found(
    bisection: ModuleType, count: int, data: st.DataObject
) -> None:
    changes = [f"p{number}" for number in range(count)]
    culprits = set(data.draw(st.lists(st.sampled_from(changes), min_size=1, max_size=3)))

    def outcome(tried: Sequence[str]) -> object:
        return bisection.Outcome.FAILS if culprits <= set(tried) else bisection.Outcome.RUNS

    assert set(bisection.smallest(changes, outcome)) == culprits


@pytest.mark.parametrize("culprit", ["p0", "p31", "p63"])
def test_single_culprit_takes_few_trials(bisection: ModuleType, culprit: str) -> None:
    trials = []

    def outcome(tried: Sequence[str]) -> object:
        trials.append(tried)
        return bisection.Outcome.FAILS if culprit in tried else bisection.Outcome.RUNS

    assert bisection.smallest([f"p{number}" for number in range(64)], outcome) == [culprit]
    assert len(trials) <= 2 * math.log2(64)


def test_part_that_cannot_be_installed_is_not_blamed(bisection: ModuleType) -> None:
    def outcome(tried: Sequence[str]) -> object:
        # These two only work with each other.
        if ("core" in tried) != ("plugin" in tried):
            return bisection.Outcome.UNCLEAR
        return bisection.Outcome.FAILS if "core" in tried else bisection.Outcome.RUNS

    found = bisection.smallest(["a", "core", "b", "c", "plugin"], outcome)
    assert sorted(found) == ["core", "plugin"]


def test_notebook_that_never_ran_is_not_blamed_on_a_package(bisection: ModuleType) -> None:
    class Trial(bisection.Trial):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            pass

        def error(self, notebook: Path, changes: Sequence[str]) -> str | None:
            return "AssertionError: never"

    with pytest.raises(bisection.RefusedError, match=r"a\.ipynb fails with the old packages, too: .* never"):
        Trial().cause(Path("a.ipynb"))
