"""Apache Kafka with the observatory's access control lists for the Butler writer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from prompt_processing.services.installation import MissingSoftwareError
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.server import Server
from prompt_processing.services.software import Software

INPUT_TOPIC = "butler-writer"
OUTPUT_TOPIC = "butler-writer-ingestion-events"
TRANSACTIONAL_ID = "butler-writer-output"

# As in Phalanx, applications/prompt-kafka/charts/butler-writer/templates/kafka-users.yaml.
ALLOWED = (
    (ResourceType.GROUP, "*"),
    (ResourceType.TOPIC, INPUT_TOPIC),
    (ResourceType.TOPIC, OUTPUT_TOPIC),
    (ResourceType.TRANSACTIONAL_ID, TRANSACTIONAL_ID),
)

_AUTHORIZER = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS
"""


class KafkaWithAcls(Kafka):
    """A cluster on which the user of the SASL listener may do only what the lists allow."""

    username: str = "butler-writer"

    def prepare(self, software: Software) -> None:
        super().prepare(software)
        with (self.folder / "server.properties").open("a") as properties:
            properties.write(_AUTHORIZER)

    def set_up(self) -> None:
        self.create_topics(INPUT_TOPIC, OUTPUT_TOPIC)
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        bindings = [
            AclBinding(
                kind,
                name,
                ResourcePatternType.LITERAL,
                f"User:{self.username}",
                "*",
                AclOperation.ALL,
                AclPermissionType.ALLOW,
            )
            for kind, name in ALLOWED
        ]
        for made in admin.create_acls(bindings, request_timeout=20).values():
            made.result(timeout=20)


@contextmanager
def running_kafka_with_acls(folder: Path) -> Iterator[KafkaWithAcls]:
    """Start a cluster, and stop it at the end."""
    software = Software()
    folder.mkdir()
    kafka = KafkaWithAcls(folder=folder)
    try:
        kafka.prepare(software)
    except MissingSoftwareError as error:
        if os.environ.get("CI"):
            pytest.fail(f"A test needs Kafka: {error}")
        pytest.skip(str(error))
    server = Server("kafka", kafka.command(software), kafka.ready, folder / "kafka.log", detached=False)
    server.start()
    try:
        server.wait_ready(90.0)
        kafka.set_up()
        yield kafka
    finally:
        server.stop()
