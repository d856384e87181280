"""The testers as people call them, against Kafka and S3 over the wire."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from astropy.time import Time
from confluent_kafka import Consumer
from embedded_services import BUCKET_TOPIC, NEXT_VISIT_TOPIC, Embedded
from lsst.daf.butler import Butler, DatasetRef, FileDataset

from prompt_processing.cli.main import run
from prompt_processing.domain.clock import tai_to_utc
from prompt_processing.domain.notices import parse_notices
from prompt_processing.domain.visit import NextVisit
from prompt_processing.instruments import (
    Observation,
    RawKey,
    exposure_dimension_record_fields,
    parse_sidecar,
    read_header,
    translate,
)
from prompt_processing.repository.central import create_repository, register_dataset_types
from prompt_processing.repository.instrument_records import insert_instrument
from prompt_processing.simulation.night import Night, build_night

pytestmark = pytest.mark.integration

IMAGES, USERS = "rubin-pp-dev", "rubin-pp-dev-users"


def make_pool(
    services: Embedded, folder: Path, instrument: str, detectors: list[int], **others: Any
) -> Night:
    night = build_night(
        folder, instrument, detectors, seed=3, workers=1, miniature=(40, 60), n_template=0, **others
    )
    for path in night.pool.rglob("*"):
        if path.is_file():
            key = f"unobserved/{path.relative_to(night.pool)}"
            services.s3.upload_file(str(path), USERS, key)
    return night


def read_topic(services: Embedded, topic: str, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Read a topic from its beginning until there is enough; at most 30 s."""
    consumer = Consumer(
        {
            "bootstrap.servers": services.broker,
            "group.id": f"test-{time.time_ns()}",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    values: list[bytes] = []
    deadline = time.monotonic() + 30
    while not enough(values):
        assert time.monotonic() < deadline, f"only {len(values)} messages in {topic}"
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            values.append(message.value())
    consumer.close()
    return values


def read_visits(services: Embedded, n_visits: int) -> list[NextVisit]:
    values = read_topic(services, NEXT_VISIT_TOPIC, lambda values: len(values) >= n_visits)
    visits = [NextVisit.parse(value) for value in values]
    return sorted(visits, key=lambda visit: visit.private_sndStamp)


def bucket_keys(services: Embedded, bucket: str = IMAGES) -> set[str]:
    return {entry["Key"] for entry in services.s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


def uploaded_raws(services: Embedded) -> list[RawKey]:
    found = [key for name in bucket_keys(services) if (key := RawKey.parse(name)) is not None]
    return sorted(found, key=lambda raw: (raw.exposure, raw.detector))


def observe(services: Embedded, raw: RawKey, folder: Path) -> Observation:
    path = folder / Path(raw.key).name
    services.s3.download_file(IMAGES, raw.key, str(path))
    return translate(read_header(path), raw.key)


@pytest.fixture
def in_environment(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> Embedded:
    for name, value in embedded.environment.items():
        monkeypatch.setenv(name, value)
    return embedded


def test_visits_get_new_identities_in_key_header_and_sidecar(
    in_environment: Embedded, tmp_path: Path
) -> None:
    services = in_environment
    night = make_pool(services, tmp_path / "night", "LSSTCam", [0, 94], n_visits=2)
    manifest = tmp_path / "manifest.jsonl"
    arguments = ["LSSTCam", "2", "--slew=0", "--exposure=0.5", "--publish-notices", f"--manifest={manifest}"]
    assert run("tester", "upload", *arguments) == 0
    visits = read_visits(services, 2)
    raws = uploaded_raws(services)
    assert len({visit.groupId for visit in visits}) == 2
    assert [raw.detector for raw in raws] == [0, 94, 0, 94]
    assert not {raw.exposure for raw in raws} & {e for group in night.groups for e in group["exposures"]}
    for visit, planned, raw in zip(visits, night.groups, raws[::2], strict=True):
        seen = observe(services, raw, tmp_path)
        assert (seen.exposure_id, seen.group) == (raw.exposure, visit.groupId)
        assert seen.obs_id in raw.key
        assert abs(seen.begin.unix - time.time()) < 120
        assert visit.position == pytest.approx((planned["ra"], planned["dec"]), abs=0.01)
        assert visit.filters == planned["physical_filter"]
        body = services.s3.get_object(Bucket=IMAGES, Key=raw.sidecar_key())["Body"].read()
        assert translate(parse_sidecar(body)).exposure_id == raw.exposure
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert {line["key"] for line in lines} == {raw.key for raw in raws}
    assert all(RawKey.parse(line["source"]) is not None for line in lines)


def test_each_object_has_its_notice_sidecar_first(in_environment: Embedded, tmp_path: Path) -> None:
    services = in_environment
    make_pool(services, tmp_path / "night", "LATISS", [0], n_visits=1)
    assert run("tester", "upload", "LATISS", "1", "--slew=0", "--exposure=0.1", "--publish-notices") == 0
    values = read_topic(services, BUCKET_TOPIC, lambda values: len(values) >= 2)
    notices = [notice for value in values for notice in parse_notices(value)]
    told = {notice.keys[0] for notice in notices}
    assert told == bucket_keys(services)
    by_time = sorted(notices, key=lambda notice: notice.arrival or 0)
    assert [notice.keys[0].endswith(".json") for notice in by_time] == [True, False]


def test_same_raws_can_be_used_again_and_again(in_environment: Embedded, tmp_path: Path) -> None:
    services = in_environment
    make_pool(services, tmp_path / "night", "HSC", [50], n_visits=1)
    for _ in range(2):
        assert run("tester", "upload", "HSC", "2", "--slew=0", "--exposure=0.1") == 0
    raws = uploaded_raws(services)
    assert len({raw.exposure for raw in raws}) == 4
    assert len({raw.group for raw in raws}) == 4
    assert {visit.groupId for visit in read_visits(services, 4)} == {raw.group for raw in raws}
    # The pool's own exposure names the test group, so that the fan-out knows which detectors there are.
    assert {visit.salIndex for visit in read_visits(services, 4)} == {90_002}


def test_announcement_precedes_the_image_by_slew_and_exposure(
    in_environment: Embedded, tmp_path: Path
) -> None:
    services = in_environment
    make_pool(services, tmp_path / "night", "LATISS", [0], n_visits=1)
    assert run("tester", "upload", "LATISS", "1", "--slew=1", "--exposure=2", "--publish-notices") == 0
    (visit,) = read_visits(services, 1)
    values = read_topic(services, BUCKET_TOPIC, lambda values: len(values) >= 2)
    arrivals = [notice.arrival for value in values for notice in parse_notices(value) if notice.arrival]
    assert min(arrivals) - tai_to_utc(visit.private_sndStamp) >= 3.0
    assert visit.duration == 3.0


def test_snaps_of_a_visit_share_its_group(in_environment: Embedded, tmp_path: Path) -> None:
    services = in_environment
    make_pool(services, tmp_path / "night", "LSSTCam", [94], n_visits=1, snaps=2)
    assert run("tester", "upload", "LSSTCam", "1", "--slew=0", "--exposure=0.2") == 0
    (visit,) = read_visits(services, 1)
    observations = [observe(services, raw, tmp_path) for raw in uploaded_raws(services)]
    assert visit.nimages == 2
    assert [one.snap for one in observations] == [0, 1]
    assert {one.group for one in observations} == {visit.groupId}
    assert observations[1].exposure_id == observations[0].exposure_id + 1
    assert observations[1].begin > observations[0].begin


def test_empty_pool_is_reported_with_its_place(
    in_environment: Embedded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tester", "upload", "HSC", "1") == 1
    assert "s3://rubin-pp-dev-users/unobserved/HSC/" in capsys.readouterr().err


def test_store_that_does_not_answer_is_reported(
    in_environment: Embedded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:9")
    assert run("tester", "upload", "HSC", "1") == 1
    assert "unobserved/HSC" in capsys.readouterr().err


def make_hsc_repository(night: Night, folder: Path) -> None:
    """A repository with the night's raws in the collection that the tester draws from."""
    create_repository(str(folder))
    with Butler.from_config(str(folder), writeable=True) as butler:
        insert_instrument(butler, night.camera)
        register_dataset_types(butler, [])
        butler.collections.register("HSC/RC2/defaults")
        for path in night.raws:
            observation = translate(read_header(path), str(path))
            record = exposure_dimension_record_fields(observation)
            for element, fields in (
                ("day_obs", {"instrument": "HSC", "id": observation.day_obs}),
                ("group", {"instrument": "HSC", "name": observation.group}),
                ("exposure", record),
            ):
                butler.registry.insertDimensionData(element, fields, skip_existing=True)
            data_id = butler.registry.expandDataId(
                instrument="HSC", exposure=observation.exposure_id, detector=observation.detector
            )
            ref = DatasetRef(butler.get_dataset_type("raw"), data_id, run="HSC/RC2/defaults")
            butler.ingest(FileDataset(path=str(path), refs=[ref]), transfer="copy")


def test_visits_of_a_repository_are_uploaded_with_all_detectors(
    in_environment: Embedded, tmp_path: Path
) -> None:
    services = in_environment
    night = build_night(
        tmp_path / "night", "HSC", [49, 50], 3, seed=3, workers=1, miniature=(40, 60), n_template=0
    )
    make_hsc_repository(night, tmp_path / "repo")
    arguments = ["2", f"--repo={tmp_path / 'repo'}", "--ordered", "--seed=1", "--processes=2"]
    assert run("tester", "upload-hsc-rc2", *arguments, "--slew=0", "--exposure=1", "--publish-notices") == 0
    visits = read_visits(services, 2)
    raws = uploaded_raws(services)
    assert [raw.detector for raw in raws] == [49, 50, 49, 50]
    assert {visit.salIndex for visit in visits} == {999}
    assert [raw.group for raw in raws[::2]] == [visit.groupId for visit in visits]
    assert observe(services, raws[0], tmp_path).exposure_id == raws[0].exposure
    assert abs(Time.now().unix - observe(services, raws[0], tmp_path).begin.unix) < 120


def test_thin_script_runs_the_tester(in_environment: Embedded) -> None:
    script = Path(__file__).parents[2] / "python" / "tester" / "upload_hsc_rc2.py"
    process = in_environment.processes.start("help", ["python", str(script), "--help"])
    assert process.wait(60) == 0
    assert "HSC/RC2/defaults" in process.log.read_text()
