"""The best pipeline that can be built runs; nothing is prepared for those after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

from prompt_processing.activator.services.pipelines import first_buildable


def test_pipelines_after_the_one_that_runs_are_not_prepared() -> None:
    prepared: list[str] = []

    def prepare(*buildable: bool) -> Iterator[Any]:
        for number, can_run in enumerate(buildable):
            prepared.append(f"pipeline {number}")
            yield Mock(build=Mock(return_value=can_run), number=number)

    run = first_buildable(prepare(False, True, True), Mock())
    assert run is not None
    assert run.number == 1  # type: ignore[attr-defined]
    assert prepared == ["pipeline 0", "pipeline 1"]
    assert first_buildable(prepare(False, False), Mock()) is None
