"""The flow that catches up processes what is missing, once, with the worker's own code."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import butler_world as world
import pytest
from broker_process import BrokerProcess
from lsst.daf.butler import Butler

from prompt_processing.activator import factory
from prompt_processing.flows.daily.catching_up.announcements import messages_of
from prompt_processing.flows.daily.catching_up.gaps import Kind, Remedy
from prompt_processing.flows.engine import execute
from prompt_processing.flows.errors import FlowError
from prompt_processing.flows.flow import load_flow
from prompt_processing.flows.place import Place
from prompt_processing.flows.run import Silent, Table
from prompt_processing.transport.kafka import KafkaSettings, make_producer

pytestmark = pytest.mark.integration

NIGHT = "2025-06-09"
NOT_ANNOUNCED, ANNOUNCED, WITHOUT_RAW = world.EXPOSURE + 1, world.EXPOSURE + 2, world.EXPOSURE + 3


class Night:
    """A folder of raws and a file of announcements, with the environment of a worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raws = folder / "raws"
        self.repo = str(folder / "central")
        camera = world.small_camera()
        for exposure in (NOT_ANNOUNCED, ANNOUNCED):
            world.write_raw(self.raws / str(exposure), camera, exposure=exposure, group=f"group {exposure}")
        self.announcements = folder / "announced.jsonl"
        visits = [
            world.make_visit(groupId=f"group {exposure}").model_dump(mode="json", exclude={"detector"})
            for exposure in (ANNOUNCED, WITHOUT_RAW)
        ]
        self.announcements.write_text("".join(json.dumps(visit) + "\n" for visit in visits) + "rubbish\n")

    def run(self, dry_run: bool = False, **more: Any) -> dict[str, Table]:
        parameters = {
            "night": NIGHT,
            "raws": self.raws,
            "announcements": self.announcements,
            "detectors": (world.DETECTOR,),
            "patience": -3600.0,
            **more,
        }
        tables = execute(
            load_flow("catch-up"),
            parameters,
            work=self.folder / "work",
            place=Place(),
            reporter=Silent(),
            dry_run=dry_run,
        )
        return {table.title: table for table in tables}

    def processed(self) -> list[int]:
        with Butler.from_config(self.repo) as butler:
            refs = butler.query_datasets(
                "preliminary_visit_image",
                collections=f"{world.INSTRUMENT}/prompt/*",
                find_first=False,
                explain=False,
            )
        return sorted(int(ref.dataId["visit"]) for ref in refs)


@pytest.fixture
def night(central_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    settings = world.make_settings(central_folder)
    paths = world.write_pipelines(central_folder / "pipelines")
    main = ", ".join(paths[stem] for stem in ("ApPipe", "SingleFrame", "Isr"))
    environment = {
        "RUBIN_INSTRUMENT": settings.rubin_instrument,
        "SKYMAP": settings.skymap,
        "CENTRAL_REPO": settings.central_repo,
        "LOCAL_REPOS": str(central_folder / "local"),
        "REPO_RETRY_DELAY": "0.01",
        "IMAGE_BUCKET": "unused",
        "KAFKA_CLUSTER": "unused",
        "BUCKET_TOPIC": "unused",
        "CONFIG_APDB": settings.config_apdb,
        "PREPROCESSING_PIPELINES_CONFIG": f"- pipelines: [{paths['Preprocessing']}]",
        "MAIN_PIPELINES_CONFIG": f"- pipelines: [{main}]",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # The raws of the tests are of a camera with small detectors.
    monkeypatch.setattr(factory, "load_camera", lambda name: world.small_camera())
    return Night(central_folder)


def rows(table: Table) -> set[tuple[object, ...]]:
    return {(row["visit"], row["kind"], row["remedy"]) for row in table.rows}


def test_what_is_missing_is_processed_once(night: Night) -> None:
    expected = {
        (f"group {NOT_ANNOUNCED}", Kind.NO_OUTCOME, Remedy.PROCESS),
        (f"group {ANNOUNCED}", Kind.NO_OUTCOME, Remedy.PROCESS),
        (f"group {WITHOUT_RAW}", Kind.NO_IMAGE, Remedy.NONE),
    }
    planned = night.run(dry_run=True)
    assert rows(planned["Gaps"]) == expected
    assert planned["Cost"].rows[0]["quanta"] == 2
    assert night.processed() == []
    assert not (night.folder / "work").exists()

    done = night.run()
    assert rows(done["Gaps"]) == expected
    assert {row["outcome"] for row in done["Processed"].rows} == {"processed"}
    assert night.processed() == [NOT_ANNOUNCED, ANNOUNCED]

    # What is left is what no raw came for.
    again = night.run()
    assert rows(again["Gaps"]) == {(f"group {WITHOUT_RAW}", Kind.NO_IMAGE, Remedy.NONE)}
    assert "Processed" not in again
    assert night.processed() == [NOT_ANNOUNCED, ANNOUNCED]


def test_what_the_apdb_has_is_not_written_again(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another worker commits between the finding and the processing.
    answers = iter([False])
    monkeypatch.setattr(
        "lsst.dax.apdb.sql.ApdbSql.containsVisitDetector",
        lambda self, visit, detector: visit == ANNOUNCED and next(answers, True),
    )
    with pytest.raises(FlowError, match="1 of 2 were not processed"):
        night.run()
    assert night.processed() == [NOT_ANNOUNCED]

    left = night.run()
    assert (f"group {ANNOUNCED}", Kind.NOT_EXPORTED, Remedy.REPROCESS) in rows(left["Gaps"])
    assert "Processed" not in left
    assert night.processed() == [NOT_ANNOUNCED]


def test_a_topic_is_read_from_the_night_to_its_present_end(tmp_path: Path) -> None:
    with BrokerProcess(tmp_path / "kafka", "visits") as broker:
        settings = KafkaSettings(bootstrap_servers=broker.address)
        producer = make_producer(settings, linger_ms=0)
        now = time.time()
        for number, age in enumerate((90_000, 3600, 60)):
            producer.produce("visits", str(number).encode(), timestamp=round((now - age) * 1000))
            producer.flush(20)
        assert list(messages_of(settings, "visits", now - 7200)) == [b"1", b"2"]
        assert list(messages_of(settings, "visits", now + 3600)) == []
        with pytest.raises(FlowError, match="Kafka topic absent"):
            list(messages_of(settings, "absent", now))
