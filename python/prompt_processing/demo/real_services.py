"""Real servers on this machine: Apache Kafka, a schema registry, S3 with notices, PostgreSQL, Redis."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Self

import requests
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from lsst.alert.packet import Schema

from prompt_processing.instruments.raw_key import has_night_keys
from prompt_processing.services.installation import MissingSoftwareError
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.schema_registry import SchemaRegistryServer
from prompt_processing.services.server import ServerFailedError
from prompt_processing.services.service import Service, free_port
from prompt_processing.services.software import Software
from prompt_processing.services.stack import ServiceStack

from .embedded import IMAGE_BUCKET, USERS_BUCKET
from .processes import Process, Processes, ProcessFailedError
from .surroundings import ALERT_TOPIC, NEXT_VISIT_TOPIC, Companions, Folders, RepositoryPlace
from .workers import Platform

__all__ = ["RealServices"]

_OUTPUTS_TOPIC = "butler-writer-outputs"
_BATCHES_TOPIC = "butler-writer-batches"
_WRITER_GROUP = "butler-writer"
_CENTRAL_SCHEMA = "central"
_APDB_SCHEMA = "apdb"
_WRITER_TIMEOUT_S = 60.0


class RealServices:
    """Servers of `prompt_processing.services`, the Butler writer and the raw microservice.

    Clients of Kafka authenticate with SCRAM-SHA-512. The central registry and the APDB are two schemas of one
    database.

    Parameters
    ----------
    folder : `~pathlib.Path`
        For the servers' data and logs, which are removed at the end.
    platform : `str`
        Of the workers: with ``keda``, Redis streams their visits.
    """

    def __init__(self, folder: Path, platform: Platform) -> None:
        self._platform = platform
        self._software = Software()
        self._stack = ServiceStack(folder, self._software)

    @property
    def description(self) -> str:
        """The step's name in the demo's output."""
        return "Starting Kafka, schema registry, S3, PostgreSQL and Redis, making an APDB"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the servers and remove their data."""
        self._stack.stop()

    def install(self) -> None:
        """Install missing servers.

        Raises
        ------
        ProcessFailedError
            A server cannot be installed; the message says what to do.
        """
        try:
            self._software.install()
        except MissingSoftwareError as error:
            raise ProcessFailedError(str(error)) from error

    def start(self, processes: Processes, folders: Folders) -> dict[str, str]:
        """Start them; see `~prompt_processing.demo.surroundings.Surroundings.start`."""
        self._stack.folder.mkdir(parents=True, exist_ok=True)
        kinds: list[type[Service]] = [Kafka, SchemaRegistryServer, PostgreSql, ObjectStore]
        if self._platform == "keda":
            kinds.append(RedisServer)
        try:
            self._stack.start(*kinds)
        except (MissingSoftwareError, ServerFailedError) as error:
            raise ProcessFailedError(str(error)) from error
        apdb = self._make_apdb(processes, folders)
        self._make_topics_and_buckets()
        if apdb.wait(120) != 0:
            apdb.check()
        return {
            **self._stack.environment(),
            "NEXT_VISIT_TOPIC": NEXT_VISIT_TOPIC,
            "IMAGE_BUCKET": IMAGE_BUCKET,
            "USERS_BUCKET": USERS_BUCKET,
            "CONFIG_APDB": str(folders.work / "apdb.yaml"),
            "AP_KAFKA_TOPIC": ALERT_TOPIC,
        }

    def _make_apdb(self, processes: Processes, folders: Folders) -> Process:
        database = self._stack.service(PostgreSql)
        return processes.start(
            "apdb",
            [
                "prompt",
                "apdb",
                "create",
                "--development",
                f"--namespace={_APDB_SCHEMA}",
                database.url,
                str(folders.work / "apdb.yaml"),
            ],
            database.environment(),
        )

    def _make_topics_and_buckets(self) -> None:
        self._stack.service(Kafka).create_topics(
            NEXT_VISIT_TOPIC, ALERT_TOPIC, _OUTPUTS_TOPIC, _BATCHES_TOPIC
        )
        schema = Schema.from_file()
        self._stack.service(SchemaRegistryServer).import_schema(
            f"{ALERT_TOPIC}-value", schema.get_schema_id(), schema.definition
        )
        client = self._stack.service(ObjectStore).client()
        for bucket in (IMAGE_BUCKET, USERS_BUCKET):
            client.create_bucket(Bucket=bucket)

    def repository_place(self, folders: Folders) -> RepositoryPlace:
        """Return the users' bucket for everything but the registry, which is in PostgreSQL."""
        root = f"s3://{USERS_BUCKET}/central_repo"
        return RepositoryPlace(root, self._stack.service(PostgreSql).url, f"{root}/", _CENTRAL_SCHEMA)

    def start_companions(
        self, processes: Processes, folders: Folders, central_repository: str, instrument: str
    ) -> Companions:
        """Start the Butler writer and, for cameras that it supports, the raw microservice."""
        kafka = self._stack.service(Kafka)
        username, password = kafka.username, kafka.password
        lists = folders.work / "ingested"
        lists.mkdir()
        processes.start(
            "butler-writer",
            ["prompt", "writer"],
            {
                "BUTLER_REPOSITORY": central_repository,
                "KAFKA_CLUSTER": kafka.sasl_servers,
                "KAFKA_USERNAME": username,
                "KAFKA_PASSWORD": password,
                "KAFKA_TOPIC": _OUTPUTS_TOPIC,
                "KAFKA_OUTPUT_TOPIC": _BATCHES_TOPIC,
                "OUTPUT_DATASET_LIST_DIRECTORY": str(lists),
                "METRICS_PORT": "0",
            },
        )
        workers = {
            "USE_KAFKA_BUTLER_WRITER": "1",
            "BUTLER_WRITER_KAFKA_CLUSTER": kafka.sasl_servers,
            "BUTLER_WRITER_KAFKA_USERNAME": username,
            "BUTLER_WRITER_KAFKA_PASSWORD": password,
            "BUTLER_WRITER_KAFKA_TOPIC": _OUTPUTS_TOPIC,
        }
        if has_night_keys(instrument):
            workers["RAW_MICROSERVICE"] = _start_raw_microservice(processes, instrument)
        event_stream = {
            "KAFKA_CLUSTER": kafka.sasl_servers,
            "SASL_USERNAME": username,
            "SASL_PASSWORD": password,
            "SASL_MECHANISM": "SCRAM-SHA-512",
            "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        }
        return Companions(workers, event_stream)

    def await_outputs(self) -> None:
        """Wait until the writer has entered all published outputs."""
        servers = self._stack.service(Kafka).bootstrap_servers
        # librdkafka's messages about its own queues would clutter the demo's output.
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 4})
        deadline = time.monotonic() + _WRITER_TIMEOUT_S
        while (left := _lag(admin)) > 0:
            if time.monotonic() > deadline:
                raise ProcessFailedError(
                    f"The Butler writer still has {left} messages to enter after {_WRITER_TIMEOUT_S:.0f} s."
                )
            time.sleep(0.2)


def _lag(admin: AdminClient) -> int:
    """Return the number of published messages that the writer has not processed."""
    partition = TopicPartition(_OUTPUTS_TOPIC, 0)
    try:
        ends = admin.list_offsets({partition: OffsetSpec.latest()})
        groups = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(_WRITER_GROUP, [partition])])
        end = next(iter(ends.values())).result(timeout=10).offset
        (committed,) = groups[_WRITER_GROUP].result(timeout=10).topic_partitions
    except KafkaException as error:
        raise ProcessFailedError(f"Cannot read the Butler writer's offset from Kafka: {error}") from error
    # Negative: nothing has been committed yet.
    return int(end) - max(int(committed.offset), 0)


def _start_raw_microservice(processes: Processes, instrument: str) -> str:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = processes.start(
        "raw-microservice",
        ["prompt", "raws", "serve"],
        {"PORT": str(port), "SUPPORTED_INSTRUMENTS": instrument},
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        process.check()
        try:
            if requests.get(f"{url}/health", timeout=2).ok:
                return url
        except requests.RequestException:
            # Not listening yet.
            pass
        time.sleep(0.2)
    raise ProcessFailedError(f"{process.name} does not answer; see {process.log}")
