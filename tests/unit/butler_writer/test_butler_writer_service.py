"""The writer between topics and a repository that stand in for Kafka and the Butler."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from lsst.resources import ResourcePath

from prompt_processing.butler.messages import VisitOutputs
from prompt_processing.butler_writer.central import RejectedOutputsError
from prompt_processing.butler_writer.config import WriterSettings
from prompt_processing.butler_writer.metrics import WriterMetrics
from prompt_processing.butler_writer.service import WriterService
from prompt_processing.butler_writer.topics import TransactionAbortedError
from prompt_processing.settings.environment import SettingsError


class FakeMessage:
    def __init__(self, value: bytes, offset: int) -> None:
        self._value, self._offset = value, offset

    def topic(self) -> str:
        return "outputs"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value


class FakeTopics:
    """Gives all messages in one batch, again if the commit failed, and then tells to stop."""

    def __init__(self, values: Sequence[bytes], stop: threading.Event, aborts: int = 0) -> None:
        self.waiting = [FakeMessage(value, offset) for offset, value in enumerate(values)]
        self.stop = stop
        self.aborts = aborts
        self.commits: list[tuple[list[int], dict[str, Any] | None]] = []

    def read(self, limit: int, seconds: float) -> list[Any]:
        batch, self.waiting = self.waiting[:limit], self.waiting[limit:]
        if not batch:
            self.stop.set()
        return batch

    def commit(self, messages: Sequence[Any], event: bytes | None) -> None:
        if self.aborts:
            self.aborts -= 1
            self.waiting = [*messages, *self.waiting]
            raise TransactionAbortedError("another writer")
        self.commits.append(
            ([message.offset() for message in messages], None if event is None else json.loads(event))
        )


class FakeCentral:
    """Notes what it is given; `fault` may raise."""

    def __init__(self, fault: Callable[[list[str]], None] = lambda _: None) -> None:
        self.fault = fault
        self.entered: list[list[str]] = []
        self.attempts = 0

    def enter(self, outputs: Sequence[VisitOutputs]) -> None:
        self.attempts += 1
        paths = [dataset.path for one in outputs for dataset in one.datasets]
        self.fault(paths)
        self.entered.append(paths)


def outputs(number: int) -> bytes:
    reference = {
        "dataset_type_name": "bias",
        "data_id": {"instrument": "LSSTCam", "detector": number},
        "run": "LSSTCam/prompt/output-2025-06-09/ApPipe/x",
    }
    dataset = {"path": f"file{number}", "refs": {f"00000000-0000-0000-0000-{number:012d}": reference}}
    return json.dumps({"type": "pp-output", "dimension_records": [], "datasets": [dataset]}).encode()


def run(
    central: FakeCentral, values: Sequence[bytes], folder: Path, *, aborts: int = 0
) -> tuple[FakeTopics, WriterMetrics]:
    stop, metrics = threading.Event(), WriterMetrics()
    topics = FakeTopics(values, stop, aborts)
    lists = ResourcePath(str(folder), forceDirectory=True)
    WriterService(topics, central, lists, metrics, retry_delay=0.01).run(stop)
    return topics, metrics


def count(metrics: WriterMetrics, name: str) -> float:
    return metrics.registry.get_sample_value(name) or 0.0


def reject(*bad: str) -> Callable[[list[str]], None]:
    def fault(paths: list[str]) -> None:
        if found := set(bad) & set(paths):
            raise RejectedOutputsError(f"{sorted(found)} conflicts")

    return fault


def test_batch_is_entered_at_once_listed_and_told(tmp_path: Path) -> None:
    central = FakeCentral()
    topics, metrics = run(central, [outputs(number) for number in range(5)], tmp_path)
    assert central.entered == [["file0", "file1", "file2", "file3", "file4"]]
    ((offsets, event),) = topics.commits
    assert offsets == [0, 1, 2, 3, 4]
    assert event is not None
    assert event["type"] == "batch-ingested"
    (listed,) = tmp_path.iterdir()
    assert event["batch_file"] == listed.name
    batch = json.loads(listed.read_text())
    assert batch["batch_id"] == event["batch_id"]
    assert len(batch["datasets"]) == 5
    assert listed.name.endswith(f"-{batch['batch_id']}.json")
    assert count(metrics, "butler_writer_messages_total") == 5


def test_no_more_than_500_messages_at_once(tmp_path: Path) -> None:
    central = FakeCentral()
    topics, _ = run(central, [outputs(number) for number in range(700)], tmp_path)
    assert [len(paths) for paths in central.entered] == [500, 200]
    assert len(topics.commits) == 2


def test_conflicting_message_is_left_behind_and_all_others_go_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    central = FakeCentral(reject("file7", "file311"))
    topics, metrics = run(central, [outputs(number) for number in range(400)], tmp_path)
    entered = {path for paths in central.entered for path in paths}
    assert entered == {f"file{number}" for number in range(400)} - {"file7", "file311"}
    assert central.attempts < 50
    ((offsets, event),) = topics.commits
    assert len(offsets) == 400
    assert event is not None
    assert len(json.loads(next(tmp_path.iterdir()).read_text())["datasets"]) == 398
    assert count(metrics, "butler_writer_messages_left_behind_total") == 2
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [text for text in told if "outputs[0]@7 " in text]


NO_TIMESPANS: list[object] = [{"a": 1}, [], [1], {"begin": {}}]


def with_timespan(timespan: object) -> bytes:
    record = {"definition": "day_obs", "record": {"instrument": "LSSTCam", "id": 1, "timespan": timespan}}
    return json.dumps({"dimension_records": [record], "datasets": []}).encode()


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"{", b"[]", b'{"type": "other"}', b"\xff\xfe", b"null"),
        *map(with_timespan, NO_TIMESPANS),
    ],
)
def test_malformed_message_is_told_and_passed_over(tmp_path: Path, value: bytes) -> None:
    topics, metrics = run(FakeCentral(), [outputs(1), value, outputs(2)], tmp_path)
    assert topics.commits[0][0] == [0, 1, 2]
    assert count(metrics, "butler_writer_datasets_total") == 2
    assert count(metrics, "butler_writer_messages_left_behind_total") == 1


def test_nothing_is_told_where_nothing_was_entered(tmp_path: Path) -> None:
    topics, _ = run(FakeCentral(reject("file0")), [outputs(0), b"nonsense"], tmp_path)
    assert topics.commits == [([0, 1], None)]
    assert list(tmp_path.iterdir()) == []


def test_repository_that_is_away_is_waited_for(tmp_path: Path) -> None:
    failures = [OSError("away"), ConnectionError("still away")]

    def fault(_: list[str]) -> None:
        if failures:
            raise failures.pop(0)

    central = FakeCentral(fault)
    topics, metrics = run(central, [outputs(1)], tmp_path)
    assert central.entered == [["file1"]]
    assert len(topics.commits) == 1
    assert count(metrics, "butler_writer_failures_total") == 2


def test_pauses_double_up_to_a_minute_and_begin_anew_after_a_success(tmp_path: Path) -> None:
    pauses: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            return False

    failures = 9

    def fault(_: list[str]) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0 or failures == -2:
            raise OSError("away")

    stop = Stop()
    # The first batch is entered at last; the second fails once.
    topics = FakeTopics([outputs(1)], stop, aborts=1)
    lists = ResourcePath(str(tmp_path), forceDirectory=True)
    WriterService(topics, FakeCentral(fault), lists, WriterMetrics(), retry_delay=1.0).run(stop)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 1.0]


def test_stopping_while_the_repository_is_away_commits_nothing(tmp_path: Path) -> None:
    stop = threading.Event()

    def fault(_: list[str]) -> None:
        stop.set()
        raise OSError("away")

    topics = FakeTopics([outputs(1)], stop)
    lists = ResourcePath(str(tmp_path), forceDirectory=True)
    WriterService(topics, FakeCentral(fault), lists, WriterMetrics(), retry_delay=10.0).run(stop)
    assert topics.commits == []


def test_aborted_transaction_is_done_again(tmp_path: Path) -> None:
    central = FakeCentral()
    topics, _ = run(central, [outputs(1)], tmp_path, aborts=1)
    assert len(central.entered) == 2
    assert len(topics.commits) == 1


def test_unknown_failure_ends_the_service_instead_of_losing_messages(tmp_path: Path) -> None:
    def fault(_: list[str]) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run(FakeCentral(fault), [outputs(1)], tmp_path)


def test_all_unusable_settings_are_named_and_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUTLER_REPOSITORY", "repo")
    monkeypatch.setenv("WRITER_DEBUG_LEVEL", "LOUD")
    monkeypatch.setenv("KAFKA_PASSWORD", "planted-secret")
    for name in ("KAFKA_CLUSTER", "KAFKA_TOPIC", "KAFKA_OUTPUT_TOPIC", "OUTPUT_DATASET_LIST_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError) as caught:
        WriterSettings.load()
    text = str(caught.value)
    for name in ("KAFKA_CLUSTER", "KAFKA_TOPIC", "OUTPUT_DATASET_LIST_DIRECTORY", "WRITER_DEBUG_LEVEL"):
        assert name in text
    assert "planted-secret" not in text


def usable_settings(monkeypatch: pytest.MonkeyPatch, **changed: str) -> WriterSettings:
    names = (
        "BUTLER_REPOSITORY",
        "KAFKA_CLUSTER",
        "KAFKA_TOPIC",
        "KAFKA_OUTPUT_TOPIC",
        "OUTPUT_DATASET_LIST_DIRECTORY",
    )
    for name, value in {**dict.fromkeys(names, "x"), **changed}.items():
        monkeypatch.setenv(name, value)
    return WriterSettings.load()


def test_transactional_id_is_that_of_the_observatorys_acls(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_settings(monkeypatch).kafka_transactional_id == "butler-writer-output"
    chosen = usable_settings(monkeypatch, KAFKA_TRANSACTIONAL_ID="butler-writer-output-2")
    assert chosen.kafka_transactional_id == "butler-writer-output-2"


def test_pattern_of_runs_that_is_none_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_settings(monkeypatch).output_run_regexp.fullmatch("u/any/run")
    chosen = usable_settings(monkeypatch, OUTPUT_RUN_REGEXP="LSSTCam/.*")
    assert not chosen.output_run_regexp.fullmatch("u/any/run")
    with pytest.raises(SettingsError, match="OUTPUT_RUN_REGEXP: not a regular expression"):
        usable_settings(monkeypatch, OUTPUT_RUN_REGEXP="(")


@pytest.mark.parametrize(("named", "level"), [("debug", "DEBUG"), ("WARN", "WARNING"), ("FATAL", "CRITICAL")])
def test_levels_have_the_names_that_python_knows(
    monkeypatch: pytest.MonkeyPatch, named: str, level: str
) -> None:
    settings = usable_settings(monkeypatch, WRITER_DEBUG_LEVEL=named)
    assert settings.writer_debug_level == level
