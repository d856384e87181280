"""A folder is followed: each raw once, whatever happens to files and process."""

from __future__ import annotations

import gzip
import os
import time
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import small_camera as testcam

from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.announcement import announcement_of
from prompt_processing.instruments.header_files import read_header
from prompt_processing.instruments.headers import translate
from prompt_processing.watch.arrivals import Folder
from prompt_processing.watch.context import ProcessedImage
from prompt_processing.watch.journal import Entry, FileState, Journal
from prompt_processing.watch.lines import line, summary
from prompt_processing.watch.service import Report, Watch


class Killed(BaseException):
    """The end of the process."""


class Processor:
    """Notes what it is asked for, and answers with the outcomes it is given."""

    def __init__(self, *outcomes: Outcome | BaseException) -> None:
        self.outcomes = list(outcomes)
        self.seen: list[tuple[FannedOutVisit, Path, int]] = []

    def process(self, visit: FannedOutVisit, file: Path, exposure: int, arrival: float) -> ProcessedImage:
        self.seen.append((visit, file, exposure))
        outcome = self.outcomes.pop(0) if self.outcomes else done()
        if isinstance(outcome, BaseException):
            raise outcome
        return ProcessedImage(outcome, {"seeing_fwhm_arcsec": 2.31, "zero_point_mag": 25.7})


def done(**fields: Any) -> Outcome:
    return Outcome(Status.PROCESSED, "Processed.", counts={"numDiaSources": 3, "numAlertsSent": 3}, **fields)


@pytest.fixture
def incoming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMPT_INSTRUMENT_PATH", str(testcam.write_instrument(tmp_path / "instruments")))
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


def write(path: Path, minute: float = 1.0, kind: str = "object", **cards: Any) -> Path:
    camera = testcam.SmallCamera()
    place = {"TELRA": 150.0, "TELDEC": 2.0, "ROTATOR": 12.5, "FILTNAM": "red"}
    camera.write(path, kind, 100.0, 5.0, minute, **{**place, **cards})
    return aged(path)


def aged(path: Path, seconds: float = 5.0) -> Path:
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def watch(incoming: Path, processor: Processor, **options: Any) -> list[Report]:
    """Process what is in the folder, as a new process would."""
    reports: list[Report] = []
    with Journal(incoming.parent / "journal.db") as journal:
        Watch(
            Folder(incoming, patience=options.pop("patience", 60.0)),
            journal,
            processor,
            testcam.NAME,
            tell=reports.append,
            **options,
        ).run(Event(), 0.05, once=True)
    return reports


def test_each_raw_is_processed_once_in_the_order_of_arrival(incoming: Path) -> None:
    aged(write(incoming / "b.fits", 1.0), 90)
    (incoming / "sub").mkdir()
    aged(write(incoming / "sub" / "a.fit", 2.0), 60)
    processor = Processor()
    reports = watch(incoming, processor)
    assert [file.name for _, file, _ in processor.seen] == ["b.fits", "a.fit"]
    assert [report.entry.state for report in reports] == [FileState.DONE] * 2
    assert watch(incoming, processor) == []
    assert len(processor.seen) == 2


def test_the_announcement_says_what_the_header_says(incoming: Path) -> None:
    observation = translate(read_header(write(incoming / "a.fits")))
    visit = announcement_of(observation, time.time())
    visit.require_usable()
    assert (visit.ra, visit.dec, visit.rotation) == (150.0, 2.0, 12.5)
    assert (visit.filters, visit.instrument, visit.detector, visit.nimages) == ("red", testcam.NAME, 0, 1)
    assert visit.startTime == pytest.approx(observation.begin.unix_tai)
    assert abs(visit.age(time.time())) < 5


def test_a_file_that_is_still_written_is_waited_for(incoming: Path) -> None:
    whole = write(incoming.parent / "whole.fits").read_bytes()
    growing = incoming / "growing.fits"
    growing.write_bytes(whole[:9000])
    aged(growing, 10)
    processor = Processor()
    assert watch(incoming, processor) == []
    growing.write_bytes(whole)
    aged(growing, 1)
    assert len(watch(incoming, processor)) == 1


def test_a_renamed_file_needs_no_silence(incoming: Path) -> None:
    raw = write(incoming / "raw.fits")
    modified = time.time() - 1e-3
    # As if it were written now and renamed a moment later.
    os.utime(raw, (modified, modified))
    folder = Folder(incoming, now=lambda: modified)
    assert [one.path for one in folder.look(lambda *_: False)] == [raw]
    assert not folder.has_news()


def test_a_file_needs_no_silence_once_its_writer_has_closed_it(incoming: Path) -> None:
    whole = write(incoming.parent / "whole.fits").read_bytes()
    raw = incoming / "raw.fits"
    folder = Folder(incoming, now=lambda: raw.stat().st_mtime)
    with raw.open("wb") as file:
        # Some programs allocate the file before they write it.
        file.truncate(len(whole))
        assert list(folder.look(lambda *_: False)) == []
        assert folder.has_news()
        file.write(whole)
    assert [one.path for one in folder.look(lambda *_: False)] == [raw]
    assert not folder.has_news()


def test_whatever_may_be_new_in_a_folder_is_news(incoming: Path) -> None:
    (incoming / "sub").mkdir()
    folder = Folder(incoming)
    list(folder.look(lambda *_: False))
    assert not folder.has_news()
    whole = write(incoming.parent / "whole.fits").read_bytes()
    growing = incoming / "sub" / "growing.fits"
    growing.write_bytes(whole[:9000])
    assert folder.has_news()
    # What is still written is news until it is complete, or has not grown for a while.
    assert list(folder.look(lambda *_: False)) == []
    assert folder.has_news()
    aged(growing, 10)
    assert list(folder.look(lambda *_: False)) == []
    assert not folder.has_news()


def test_bad_files_are_set_aside_with_the_reason(incoming: Path) -> None:
    whole = write(incoming.parent / "whole.fits").read_bytes()
    (incoming / "truncated.fits").write_bytes(whole[:9000])
    (incoming / "empty.fits").touch()
    (incoming / "text.fits").write_text("no image")
    (incoming / "cut.fits.gz").write_bytes(gzip.compress(whole)[:-50])
    for name in ("truncated.fits", "empty.fits", "text.fits", "cut.fits.gz"):
        aged(incoming / name, 100)
    write(incoming / "other.fits", CAMERA="another")
    write(incoming / "good.fits", 3.0)
    processor = Processor()
    reports = {report.entry.path.name: report.entry for report in watch(incoming, processor)}
    assert [file.name for _, file, _ in processor.seen] == ["good.fits"]
    reasons = {name: entry.reason for name, entry in reports.items() if entry.state is FileState.SET_ASIDE}
    assert set(reasons) == {"truncated.fits", "empty.fits", "text.fits", "cut.fits.gz", "other.fits"}
    assert "truncated" in reasons["truncated.fits"]
    assert "truncated" in reasons["cut.fits.gz"]
    assert "empty" in reasons["empty.fits"]
    assert "FITS" in reasons["text.fits"]
    assert watch(incoming, processor) == []


def test_calibration_frames_and_copies_are_skipped(incoming: Path) -> None:
    aged(write(incoming / "first.fits"), 20)
    (incoming / "copy.fits").write_bytes((incoming / "first.fits").read_bytes())
    aged(incoming / "copy.fits", 10)
    write(incoming / "flat.fits", 4.0, kind="dome")
    processor = Processor()
    states = {report.entry.path.name: report.entry for report in watch(incoming, processor)}
    assert len(processor.seen) == 1
    assert states["copy.fits"].state is FileState.SKIPPED
    assert "first.fits" in states["copy.fits"].reason
    assert "flat" in states["flat.fits"].reason


def test_a_killed_process_continues_with_the_image_that_it_was_at(incoming: Path) -> None:
    for number in range(4):
        aged(write(incoming / f"{number}.fits", number + 1.0), 100 - number)
    processor = Processor(done(), Killed())
    with pytest.raises(Killed):
        watch(incoming, processor)
    reports = watch(incoming, processor)
    assert [file.name for _, file, _ in processor.seen] == ["0.fits", "1.fits", "1.fits", "2.fits", "3.fits"]
    assert {report.entry.state for report in reports} == {FileState.DONE}


def test_an_image_in_the_apdb_counts_as_processed_after_a_crash(incoming: Path) -> None:
    write(incoming / "a.fits")
    with pytest.raises(Killed):
        watch(incoming, Processor(Killed()))
    there = Outcome(Status.FAILED, "The APDB holds this visit already; it is never written twice.", "unsafe")
    assert [report.entry.state for report in watch(incoming, Processor(there))] == [FileState.DONE]


def test_an_image_that_kills_the_process_is_set_aside(incoming: Path) -> None:
    write(incoming / "poison.fits")
    for _ in range(20):
        with pytest.raises(Killed):
            watch(incoming, Processor(Killed()))
    (report,) = watch(incoming, Processor())
    assert report.entry.state is FileState.SET_ASIDE
    assert "died 20 times" in report.entry.reason


def test_a_passing_failure_is_tried_again(incoming: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(incoming / "a.fits")
    processor = Processor(Outcome(Status.RETRIABLE, "The repository is away."))
    clock = time.time()

    def later() -> float:
        nonlocal clock
        clock += 3.0
        return clock

    (report,) = watch(incoming, processor, now=later)
    assert report.entry.state is FileState.DONE
    assert len(processor.seen) == 2


def test_a_failure_sets_the_image_aside(incoming: Path) -> None:
    write(incoming / "a.fits")
    (report,) = watch(incoming, Processor(Outcome(Status.FAILED, "Task calibrateImage failed.", "useless")))
    assert report.entry.state is FileState.SET_ASIDE
    assert "calibrateImage" in line(report)
    with Journal(incoming.parent / "journal.db") as journal:
        assert journal.forget(FileState.SET_ASIDE) == 1
    (report,) = watch(incoming, Processor())
    assert report.entry.state is FileState.DONE


def test_a_header_without_the_kind_of_frame_is_set_aside_and_says_where_to_enter_it(incoming: Path) -> None:
    write(incoming / "a.fits", kind=" ")
    (report,) = watch(incoming, processor := Processor())
    assert not processor.seen
    assert report.entry.state is FileState.SET_ASIDE
    assert "header.observation_type" in report.entry.reason


def test_a_line_says_if_an_image_is_outside_of_what_was_loaded(incoming: Path) -> None:
    write(incoming / "a.fits")
    (report,) = watch(incoming, Processor())
    assert report.image is not None
    for offset, told in ((29.0, False), (95.4, True)):
        image = replace(report.image, summary={"pointing_offset_arcsec": offset}, margin_arcsec=30.0)
        shown = line(replace(report, image=image))
        assert ('95" from where the header says' in shown and "PRELOAD_PADDING" in shown) is told


def test_lines_have_quality_changes_and_seconds(incoming: Path) -> None:
    write(incoming / "a.fits")
    reports: list[Report] = []
    with Journal(incoming.parent / "journal.db") as journal:
        service = Watch(Folder(incoming), journal, Processor(), testcam.NAME, tell=reports.append)
        totals = service.run(Event(), 0.05, once=True)
    shown = line(reports[0])
    for part in ("a.fits", 'seeing 2.31"', "zero point 25.70", "3 changes", "3 alerts", " s"):
        assert part in shown
    assert summary(totals).startswith("1 images processed")
    assert np.isfinite(totals.seconds)


def test_a_watch_stops_between_images(incoming: Path) -> None:
    for number in range(3):
        write(incoming / f"{number}.fits", number + 1.0)
    stop = Event()
    with Journal(incoming.parent / "journal.db") as journal:
        service = Watch(Folder(incoming), journal, Processor(), testcam.NAME, tell=lambda report: stop.set())
        totals = service.run(stop, 0.05)
    assert sum(totals.by_state.values()) == 1


def test_one_detector_of_a_file_can_be_tried_again(tmp_path: Path) -> None:
    file = Entry(tmp_path / "mosaic.fits", 100, 5)
    with Journal(tmp_path / "journal.db") as journal:
        journal.write(replace(file, detector=0, state=FileState.DONE))
        journal.write(
            replace(file, detector=1, state=FileState.SET_ASIDE, reason="No template.", attempts=10)
        )
        assert journal.settled(file.path, file.size, file.modified_ns)
        assert journal.forget(FileState.SET_ASIDE) == 1
        assert not journal.settled(file.path, file.size, file.modified_ns)
        entries = {entry.detector: entry for entry in journal.entries()}
    assert (entries[0].state, entries[1].state) == (FileState.DONE, FileState.STARTED)
    assert (entries[1].attempts, entries[1].reason) == (0, "")
