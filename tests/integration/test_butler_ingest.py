"""Images that arrive in the repository of one worker."""

from __future__ import annotations

import logging

import butler_world as world
import pytest
from butler_fixtures import Worker

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"detector": 93}, "detector 93"),
        ({"ROTPA": world.ROTATION + 5}, "rotation"),
        ({"ROTPA": None}, "rotation"),
        ({"FILTER": "unheard_of"}, "filter"),
    ],
)
def test_unsuitable_image_is_dropped_with_a_warning(
    butler_worker: Worker,
    header: dict[str, object],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    workspace = butler_worker.begin()
    workspace.preload()
    bad, good = butler_worker.raw(exposure=world.EXPOSURE + 1, **header), butler_worker.raw()
    with caplog.at_level(logging.WARNING):
        assert workspace.ingest([bad, good]) == (world.EXPOSURE,)
    assert any(reason in message and str(bad) in message for message in caplog.messages)
    # Without preprocessing, ApPipe lacks the DiaObjects.
    assert workspace.run_pipeline().pipeline == "SingleFrame"
    workspace.clean()


@pytest.mark.parametrize("kept", [0.5, 0.99, 0.001])
def test_truncated_image_is_dropped(butler_worker: Worker, kept: float) -> None:
    workspace = butler_worker.begin()
    workspace.preload()
    raw = butler_worker.raw()
    content = raw.read()
    raw.write(content[: int(len(content) * kept)])
    assert workspace.ingest([raw]) == ()
    assert list((butler_worker.repositories.local.folder / "incoming").iterdir()) == []
    workspace.clean()


def test_absent_image_is_dropped(butler_worker: Worker) -> None:
    workspace = butler_worker.begin()
    workspace.preload()
    raw = butler_worker.raw()
    raw.remove()
    assert workspace.ingest([raw]) == ()
    workspace.clean()


def test_both_snaps_are_processed(butler_worker: Worker) -> None:
    workspace = butler_worker.begin(nimages=2)
    workspace.preload()
    workspace.run_preprocessing()
    snaps = [butler_worker.raw(), butler_worker.raw(exposure=world.EXPOSURE + 1)]
    assert workspace.ingest(snaps[:1]) == (world.EXPOSURE,)
    assert workspace.ingest(snaps) == (world.EXPOSURE, world.EXPOSURE + 1)
    workspace.run_pipeline()
    assert workspace.export() > 0
    workspace.clean()
