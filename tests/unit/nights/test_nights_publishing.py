"""Messages reach the database by way of files, whatever happens to the files and the process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from night_messages import NIGHT, a_visit, began, ended

from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.outcome_message import OutcomeMessage
from prompt_processing.nights.projector import Projector, Totals, project_folder
from prompt_processing.nights.publishing import FolderSink, OutcomePublisher, TopicSink, make_publisher
from prompt_processing.nights.reading import Nights
from prompt_processing.nights.records import State
from prompt_processing.nights.sources import Batch, FolderSource
from prompt_processing.nights.store import NightStore
from prompt_processing.telemetry.credentials import CredentialMask
from prompt_processing.transport.kafka import KafkaSettings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outcomes"


def project(folder: Path, store: NightStore) -> Totals:
    return Projector(FolderSource(folder, store.positions), store).run(threading.Event(), once=True)


def test_outcome_reaches_the_database_by_way_of_a_folder(
    folder: Path, store: NightStore, nights: Nights
) -> None:
    publisher = OutcomePublisher(FolderSink(folder), lambda: "1.2", CredentialMask(["s3cret-word"]))
    publisher.announced(a_visit(), (94, 95))
    report = publisher.begin(a_visit())
    report.end(Outcome(Status.FAILED, "No access with s3cret-word."), {"isr.x": 1.0})
    publisher.close()
    assert project(folder, store) == Totals(3, 0)
    found = nights.outcome("2026-05-31T05:00:01", 94)
    assert found is not None
    assert (found.detector.state, found.software) == (State.FAILED, "1.2")
    assert found.detector.reason == "No access with ********."
    assert found.detector.began is not None
    assert nights.detectors("2026-05-31T05:00:01")[1].state is State.WAITING


def test_projector_reads_on_where_it_stopped(folder: Path, store: NightStore, nights: Nights) -> None:
    sink = FolderSink(folder)
    sink.send(began(a_visit()))
    assert project(folder, store) == Totals(1, 0)
    sink.send(ended(a_visit()))
    assert project(folder, store) == Totals(1, 0)
    assert nights.visits(NIGHT).rows[0].states[State.DONE] == 1
    assert project(folder, store) == Totals(0, 0)


def test_database_that_nobody_writes_is_one_file_without_journal(folder: Path, tmp_path: Path) -> None:
    FolderSink(folder).send(ended(a_visit()))
    project_folder(folder, tmp_path / "night.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["night.db", "outcomes"]
    # A folder that cannot be written to is read as well.
    alone = tmp_path / "archive"
    alone.mkdir()
    (tmp_path / "night.db").rename(alone / "night.db")
    alone.chmod(0o500)
    with Nights(alone / "night.db") as nights:
        assert nights.visits(NIGHT).rows[0].states[State.DONE] == 1
    alone.chmod(0o700)


def test_line_that_is_being_written_is_read_when_it_is_complete(folder: Path, store: NightStore) -> None:
    path = folder / str(NIGHT) / "pod.jsonl"
    path.parent.mkdir(parents=True)
    line = began(a_visit()).encode() + b"\n"
    path.write_bytes(line[:100])
    assert project(folder, store) == Totals(0, 0)
    path.write_bytes(line)
    assert project(folder, store) == Totals(1, 0)


def test_files_with_anything_in_them_do_no_harm(folder: Path, store: NightStore, nights: Nights) -> None:
    night = folder / str(NIGHT)
    night.mkdir(parents=True)
    good = ended(a_visit()).encode()
    (night / "pod.jsonl").write_bytes(
        b"\n\nno json\n" + b"x" * 10_000_000 + b"\n" + b"[" * 5000 + b"\n\xff\x00\n" + good + b"\n"
    )
    # Neither is a file of ours.
    (night / "link.jsonl").symlink_to("/etc/passwd")
    (folder / "..hidden").mkdir()
    totals = project(folder, store)
    assert (totals.messages, totals.malformed) == (1, 4)
    assert nights.freshness().n_malformed == 4
    assert nights.visits(NIGHT).rows[0].states[State.DONE] == 1


def test_half_a_line_on_a_full_disk_spoils_no_other(
    folder: Path, store: NightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = FolderSink(folder)
    write = __import__("os").write
    with monkeypatch.context() as full:
        full.setattr("os.write", lambda file, data: write(file, data[:20]))
        with pytest.raises(OSError, match="Only part"):
            sink.send(began(a_visit()))
    sink.send(ended(a_visit()))
    assert project(folder, store) == Totals(1, 1)


class _StuckSink:
    """Takes no message before it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.sent: list[OutcomeMessage] = []

    def send(self, message: OutcomeMessage) -> None:
        self.released.wait(30)
        self.sent.append(message)

    def close(self, timeout: float) -> None:
        """Do nothing."""


def test_slow_sink_neither_delays_nor_fails_a_visit() -> None:
    sink = _StuckSink()
    publisher = OutcomePublisher(sink)
    for number in range(3000):
        publisher.begin(a_visit()).end(Outcome(Status.PROCESSED, str(number)))
    publisher.close(0.1)
    assert sink.sent == []
    sink.released.set()


def test_sink_that_fails_is_used_again() -> None:
    sent: list[OutcomeMessage] = []

    class Sink:
        def send(self, message: OutcomeMessage) -> None:
            sent.append(message)
            if len(sent) == 1:
                raise OSError("full")

        def close(self, timeout: float) -> None:
            """Do nothing."""

    publisher = OutcomePublisher(Sink())
    publisher.begin(a_visit())
    publisher.begin(a_visit())
    publisher.close()
    assert len(sent) == 2


def test_unreachable_broker_only_leaves_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    publisher = OutcomePublisher(TopicSink(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "outcomes"))
    publisher.begin(a_visit()).end(Outcome(Status.PROCESSED, "Done."))
    publisher.close(0.5)
    assert "2 outcomes did not reach the topic outcomes" in caplog.text


def test_nothing_is_published_by_default() -> None:
    assert make_publisher(KafkaSettings(bootstrap_servers="unused:9092"), None, "") is None


class QuietSource:
    """A source without messages, whose projector stops after two turns."""

    def __init__(self, stop: threading.Event, *, answers: bool) -> None:
        self._stop, self._answers, self._turns = stop, answers, 0

    def read(self, limit: int, seconds: float) -> Batch:
        self._turns += 1
        if self._turns == 2:
            self._stop.set()
        return Batch()

    def answers(self) -> bool:
        return self._answers

    def close(self) -> None:
        pass


@pytest.mark.parametrize("answers", [True, False])
def test_projector_gives_a_sign_of_life_only_while_its_source_answers(
    answers: bool, store: NightStore, nights: Nights
) -> None:
    store.write([ended(a_visit())], {})
    before = nights.freshness().projected
    stop = threading.Event()
    Projector(QuietSource(stop, answers=answers), store).run(stop)
    assert (nights.freshness().projected > before) is answers
