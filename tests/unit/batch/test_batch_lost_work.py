"""What Dask reports of work that it lost, in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from distributed.scheduler import KilledWorker

from prompt_processing.batch.errors import BatchError
from prompt_processing.batch.execution import as_they_end, error_of


def future_with(error: BaseException) -> Any:
    return SimpleNamespace(exception=lambda: error)


def test_deaths_of_a_process_are_explained_and_other_errors_are_kept() -> None:
    killed = KilledWorker("draw-12", SimpleNamespace(address="tcp://host:1"), 3)  # type: ignore[arg-type]
    error = error_of(future_with(killed))
    assert isinstance(error, BatchError)
    assert "exhausted memory" in str(error)
    own = OSError("disk full")
    assert error_of(future_with(own)) is own


def test_futures_that_nobody_cancelled_are_those_of_a_lost_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = [
        SimpleNamespace(status="finished", result=lambda: 7),
        SimpleNamespace(status="error"),
        SimpleNamespace(status="cancelled"),
    ]
    monkeypatch.setattr("distributed.as_completed", lambda futures, loop: iter(futures))
    found = as_they_end(SimpleNamespace(loop=None), ended)  # type: ignore[arg-type]
    assert next(found) == (ended[0], 7)
    assert next(found) == (ended[1], None)
    with pytest.raises(BatchError, match="the Dask scheduler was lost"):
        next(found)
