"""Raws are read beside the building of the graph, once, and errors are left to the task."""

from __future__ import annotations

import uuid
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from prompt_processing.activator.services import raws_read_ahead
from prompt_processing.activator.services.raws_read_ahead import RawsReadAhead
from prompt_processing.activator.services.visit_outputs import VisitOutputs
from prompt_processing.instruments.errors import RawFileError


def raw_ref() -> Any:
    return SimpleNamespace(
        id=uuid.uuid4(), dataId={"detector": 7}, datasetType=SimpleNamespace(component=lambda: None)
    )


class Repository:
    """A butler that counts what is read from it."""

    _metrics = storageClasses = None  # noqa: N815 (the middleware's name)

    def __init__(self) -> None:
        self.read: list[Any] = []

    def get(self, ref: Any, **_: Any) -> str:
        self.read.append(ref)
        return "from the file"


@pytest.fixture
def may_end(monkeypatch: pytest.MonkeyPatch) -> Event:
    event = Event()

    def read(path: str, *, detector: int) -> str:
        if path == "truncated":
            raise RawFileError(path, "it is truncated.")
        assert event.wait(30)
        return f"{path} of detector {detector}"

    monkeypatch.setattr(raws_read_ahead, "read_raw", read)
    return event


def test_raw_is_read_beside_other_work_and_given_to_the_first_who_asks(may_end: Event) -> None:
    raws, repository, ref = RawsReadAhead(), Repository(), raw_ref()
    outputs: Any = VisitOutputs(repository, raws)  # type: ignore[arg-type]
    raws.begin(ref, "snap")
    may_end.set()
    assert outputs.get(ref) == "snap of detector 7"
    assert not repository.read
    assert outputs.get(ref) == "from the file"


def test_what_cannot_be_read_or_was_cleared_is_the_repositorys(may_end: Event) -> None:
    raws, repository = RawsReadAhead(), Repository()
    outputs: Any = VisitOutputs(repository, raws)  # type: ignore[arg-type]
    broken, cleared = raw_ref(), raw_ref()
    raws.begin(broken, "truncated")
    assert outputs.get(broken) == "from the file"
    raws.begin(cleared, "snap")
    raws.clear()
    assert outputs.get(cleared) == "from the file"
    assert repository.read == [broken, cleared]
    may_end.set()
