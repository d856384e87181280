"""What Dask reports of work that it lost, in words."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from prompt_processing.batch.errors import BatchError
from prompt_processing.batch.execution import as_they_end, error_of, prepare_workers, software


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


class DyingCluster:
    """Client of a cluster, some of whose first answers are that a connection is closed."""

    def __init__(self, *failing: str) -> None:
        self._failing = list(failing)
        self.scheduler = SimpleNamespace(address="tcp://host:1")
        self.asked: list[str] = []

    def run(self, function: Callable[[], dict[str, str]]) -> dict[str, dict[str, str]]:
        self._answer("run")
        return {"tcp://host:2": function()}

    def register_plugin(self, plugin: object, name: str) -> None:
        self._answer("register_plugin")

    def _answer(self, call: str) -> None:
        self.asked.append(call)
        if self._failing and self._failing[0] == call:
            self._failing.pop(0)
            raise CommClosedError("Stream is closed")


def test_workers_that_die_before_the_work_begins_are_left_out() -> None:
    cluster = DyingCluster("run", "register_plugin")
    prepare_workers(cluster, pause=0.0)  # type: ignore[arg-type]
    assert cluster.asked == ["run", "run", "register_plugin", "run", "register_plugin"]


def test_a_scheduler_that_dies_before_the_work_begins_is_lost() -> None:
    with pytest.raises(BatchError, match="the Dask scheduler was lost"):
        prepare_workers(DyingCluster(*["run"] * 9), pause=0.0)  # type: ignore[arg-type]


def test_software_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    here = software()
    cluster = DyingCluster()
    monkeypatch.setattr(cluster, "run", lambda function: {"tcp://host:2": dict.fromkeys(here, "0.1")})
    with pytest.raises(BatchError, match=r"the worker tcp://host:2 has .*install the same versions"):
        prepare_workers(cluster, pause=0.0)  # type: ignore[arg-type]
    assert cluster.asked == []
