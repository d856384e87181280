"""When the inputs of a pipeline leave memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from lsst.pipe.base.single_quantum_executor import SingleQuantumExecutor

from prompt_processing.activator.services.pipelines import _WatchedExecutor

ISR, CALIBRATE = SimpleNamespace(label="isr"), SimpleNamespace(label="calibrateImage")


class Kind(NamedTuple):
    name: str


def quantum(**inputs: str) -> Any:
    return SimpleNamespace(inputs={Kind(name): [ref] for name, ref in inputs.items()})


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    def execute(self: Any, node: Any, quantum: Any, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(task_metadata=None)

    monkeypatch.setattr(SingleQuantumExecutor, "execute", execute)
    return []


def test_inputs_that_both_snaps_need_stay_for_the_second(released: list[set[str]]) -> None:
    readers = {"flat": "isr", "raw": "isr", "camera": "calibrateImage"}
    numbers = {"isr": 2, "calibrateImage": 1}
    executor: Any = _WatchedExecutor(
        released.append, readers, numbers, limited_butler_factory=lambda quantum: None
    )
    executor.execute(ISR, quantum(flat="flat", raw="first", camera="camera"))
    assert released == []
    executor.execute(ISR, quantum(flat="flat", raw="second", camera="camera"))
    assert released == [{"flat", "first", "second"}]
    executor.execute(CALIBRATE, quantum(camera="camera"))
    assert released[1:] == [{"camera"}]
