"""The testers over a store that publishes its notices itself, with announcements in Avro and SASL."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from mypy_boto3_s3 import S3Client

from prompt_processing.cli.main import run
from prompt_processing.domain.clock import day_obs
from prompt_processing.domain.notices import parse_notices
from prompt_processing.domain.visit import NextVisit
from prompt_processing.instruments import RawKey
from prompt_processing.instruments.raw_key import format_raw_key, lsst_exposure_id
from prompt_processing.repository.central import create_repository, register_dataset_types
from prompt_processing.repository.instrument_records import insert_instrument
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.object_store import NOTICES_TOPIC, ObjectStore
from prompt_processing.services.schema_registry import SchemaRegistryServer
from prompt_processing.simulation.night import Night, build_night
from prompt_processing.transport.kafka import KafkaSettings, make_consumer
from prompt_processing.transport.schema_registry import SchemaRegistry, unframe

pytestmark = [pytest.mark.integration, pytest.mark.services]

QUICK = ["--slew=0", "--exposure=0.2"]


class Observatory:
    """Buckets and a topic of this test alone, on the session's servers."""

    def __init__(
        self, kafka: Kafka, store: ObjectStore, registry: SchemaRegistryServer, name: Callable[[str], str]
    ) -> None:
        self.images, self.users, self.topic = name("images"), name("users"), name("next-visit")
        self.kafka, self.store, self.registry = kafka, store, registry
        self.s3: S3Client = store.client()
        kafka.create_topics(self.topic)

    def environment(self) -> dict[str, str]:
        sasl = self.kafka.sasl
        assert sasl.username is not None
        assert sasl.password is not None
        return self.store.environment() | {
            "KAFKA_CLUSTER": sasl.bootstrap_servers,
            "SASL_USERNAME": sasl.username.get_secret_value(),
            "SASL_PASSWORD": sasl.password.get_secret_value(),
            "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "NEXT_VISIT_TOPIC": self.topic,
            "KAFKA_SCHEMA_REGISTRY_URL": self.registry.url,
            "IMAGE_BUCKET": self.images,
            "USERS_BUCKET": self.users,
        }

    def fill_pool(self, folder: Path, instrument: str, detectors: list[int], n_visits: int = 1) -> Night:
        night = build_night(
            folder,
            instrument,
            detectors,
            n_visits,
            seed=3,
            workers=1,
            miniature=(40, 60),
            n_template=0,
        )
        assert run("tester", "fill-pool", "--make-buckets", str(night.pool)) == 0
        return night

    def raws(self) -> list[RawKey]:
        entries = self.s3.list_objects_v2(Bucket=self.images).get("Contents", [])
        found = [key for entry in entries if (key := RawKey.parse(entry["Key"])) is not None]
        return sorted(found, key=lambda raw: (raw.exposure, raw.detector))

    def read(self, topic: str, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
        settings = KafkaSettings(bootstrap_servers=self.kafka.bootstrap_servers)
        consumer = make_consumer(settings, f"test-{time.time_ns()}", auto_offset_reset="earliest")
        consumer.subscribe([topic])
        values: list[bytes] = []
        deadline = time.monotonic() + 40
        try:
            while not enough(values):
                assert time.monotonic() < deadline, f"only {len(values)} messages in {topic}"
                message = consumer.poll(0.5)
                if message is not None and message.error() is None:
                    values.append(message.value())
        finally:
            consumer.close()
        return values

    def visits(self, number: int) -> list[NextVisit]:
        registry = SchemaRegistry(self.registry.url)
        values = self.read(self.topic, lambda values: len(values) >= number)
        visits = []
        for value in values:
            schema_id, _ = unframe(value)
            assert schema_id > 0
            visits.append(NextVisit.parse(registry.decode(value)))
        return sorted(visits, key=lambda visit: visit.private_sndStamp)

    def noticed(self) -> set[str]:
        """Keys of this test's bucket that the store has told of."""
        wanted = {entry["Key"] for entry in self.s3.list_objects_v2(Bucket=self.images).get("Contents", [])}

        def told(values: list[bytes]) -> set[str]:
            return {key for value in values for one in parse_notices(value) for key in one.keys} & wanted

        return told(self.read(NOTICES_TOPIC, lambda values: told(values) == wanted))


@pytest.fixture
def observatory(
    kafka: Kafka,
    object_store: ObjectStore,
    schema_registry: SchemaRegistryServer,
    new_name: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Observatory:
    made = Observatory(kafka, object_store, schema_registry, new_name)
    for name in ("AWS_PROFILE", "PUBLISH_BUCKET_NOTICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    return made


def test_store_tells_of_each_raw_and_the_announcement_is_avro(
    observatory: Observatory, tmp_path: Path
) -> None:
    observatory.fill_pool(tmp_path / "night", "LSSTCam", [0, 94], n_visits=2)
    assert run("tester", "upload", "LSSTCam", "3", *QUICK) == 0
    raws = observatory.raws()
    visits = observatory.visits(3)
    assert len({visit.groupId for visit in visits}) == 3
    assert len({raw.exposure for raw in raws}) == 3
    keys = observatory.noticed()
    assert keys == {raw.key for raw in raws} | {raw.sidecar_key() for raw in raws}


def test_ids_are_beyond_those_that_the_bucket_holds(observatory: Observatory, tmp_path: Path) -> None:
    """Though they are later than the clock would give, and hold nothing but one sidecar."""
    observatory.fill_pool(tmp_path / "night", "LATISS", [0])
    day = day_obs(time.time())
    taken = format_raw_key("LATISS", 0, lsst_exposure_id(day, 90_000))
    observatory.s3.put_object(Bucket=observatory.images, Key=taken.sidecar_key(), Body=b"{}")
    assert run("tester", "upload", "LATISS", "2", *QUICK) == 0
    assert [raw.exposure for raw in observatory.raws()] == [
        lsst_exposure_id(day, 90_001),
        lsst_exposure_id(day, 90_002),
    ]


def test_ids_are_new_though_the_bucket_was_emptied(observatory: Observatory, tmp_path: Path) -> None:
    """The APDB and the central repository may know the old ones still."""
    observatory.fill_pool(tmp_path / "night", "LATISS", [0])
    assert run("tester", "upload", "LATISS", "1", *QUICK) == 0
    (first,) = observatory.raws()
    for key in (first.key, first.sidecar_key()):
        observatory.s3.delete_object(Bucket=observatory.images, Key=key)
    time.sleep(1.0)
    assert run("tester", "upload", "LATISS", "1", *QUICK) == 0
    (second,) = observatory.raws()
    assert second.exposure > first.exposure


def test_visits_of_a_repository_are_uploaded_and_told_of(observatory: Observatory, tmp_path: Path) -> None:
    night = observatory.fill_pool(tmp_path / "night", "HSC", [49, 50], n_visits=3)
    repo = str(tmp_path / "repo")
    create_repository(repo)
    with Butler.from_config(repo, writeable=True) as butler:
        insert_instrument(butler, night.camera)
        register_dataset_types(butler, [])
    assert run("repo", "import-raws", repo, str(night.pool), "--run=HSC/RC2/defaults") == 0
    arguments = ["3", f"--repo={repo}", "--ordered", "--processes=2", *QUICK]
    assert run("tester", "upload-hsc-rc2", *arguments) == 0
    raws = observatory.raws()
    assert [raw.detector for raw in raws] == [49, 50] * 3
    assert [raw.group for raw in raws[::2]] == [visit.groupId for visit in observatory.visits(3)]
    assert observatory.noticed() >= {raw.key for raw in raws}
