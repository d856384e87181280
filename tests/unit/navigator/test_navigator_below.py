"""What a detector's page has besides images: its plots, its log, and its metrics beside other nights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import plot_repository as world
import pytest
from lsst.daf.butler import Butler, CollectionType
from lsst.daf.butler.logging import ButlerLogRecords
from night_messages import START, a_visit, ended

from prompt_processing.navigator.detector import below
from prompt_processing.navigator.detector.below import BelowImages
from prompt_processing.navigator.detector.data import DetectorData
from prompt_processing.navigator.detector.outcome import describe_outcome
from prompt_processing.navigator.sources import Places, Sources
from prompt_processing.nights.store import NightStore

VISIT = world.VISITS[0]
CHAIN = "LSSTCam/prompt/output-2025-06-09"
RUN = f"{CHAIN}/ApPipe/x"
DRAWN_BY_DAY = "LSSTCam/plots/2025-06-09"
EVIL = "<script>window.evil=1</script>"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = world.make_repository(tmp_path_factory.mktemp("below") / "repo")
    with Butler.from_config(repo, writeable=True) as butler:
        place = {"instrument": world.INSTRUMENT, "visit": VISIT, "detector": 94}
        lines = ButlerLogRecords.from_records([])
        for number, (level, text) in enumerate([(logging.INFO, "begins"), (logging.WARNING, EVIL)]):
            record = logging.LogRecord("lsst.x", level, "f", 1, text, None, None)
            record.created = START + number
            lines.append(record)
        world.put(butler, "calibrateImage_log", place, "ButlerLogRecords", lines, RUN, **place)
        # Drawn by day, into a run of its own.
        world.put_plot(butler, "psf_plot", f"{CHAIN}/plots", **place)
        world.put_plot(butler, "kernel_plot", DRAWN_BY_DAY, **{**place, "visit": world.VISITS[1]})
        butler.collections.register(CHAIN, CollectionType.CHAINED)
        butler.collections.redefine_chain(CHAIN, [RUN, f"{CHAIN}/plots"])
    return repo


def shown(repository: Path, what: Any, detector: int = 94, visit: int = VISIT) -> str:
    sources = Sources(Places(repository=str(repository)))
    panel = BelowImages(sources, "", lambda choice: None)
    data = DetectorData(instrument=world.INSTRUMENT, collection=RUN, chain=CHAIN)
    panel.show(data, visit, detector, what)
    assert panel.choice.value == what
    return str(panel.content.objects[-1].object)


def test_log_has_each_line_as_text(repository: Path) -> None:
    log = shown(repository, "log")
    assert "calibrateImage" in log
    assert log.index("begins") < log.index("<strong>WARNING</strong>") < log.index("&lt;script&gt;")
    assert EVIL not in log
    assert "no log" in shown(repository, "log", detector=95)


def test_log_that_is_too_large_is_not_read(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(below, "_LARGEST_LOG", 10)
    assert "too large" in shown(repository, "log")


def test_plots_of_the_whole_night_are_found(repository: Path) -> None:
    plots = shown(repository, "plots")
    assert "psf_plot" in plots
    assert 'src="data:image/png;base64,' in plots
    assert "collections?collection=" in plots
    # Where the flow draw-night puts them.
    assert "kernel_plot" in shown(repository, "plots", visit=world.VISITS[1])
    assert "no plots" in shown(repository, "plots", detector=95)
    assert shown(repository, "") == ""


def test_metrics_are_beside_those_of_the_last_nights(tmp_path: Path) -> None:
    day = 86_400.0
    store = NightStore(tmp_path / "night.db")
    for number in range(3):
        at = START + number * day
        store.write([ended(a_visit(number + 1, announced=at), at=at + 40)], {})
    _, details = describe_outcome(
        Sources(Places(nights=str(tmp_path / "night.db"))), 2026053100103, 94, "LSSTCam"
    )
    assert "3 nights, 0.894 to 0.894" in details
    assert "<polyline" in details
