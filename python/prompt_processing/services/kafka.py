"""Apache Kafka: one node that is both broker and controller (KRaft)."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from pydantic import Field, SecretStr

from prompt_processing.transport.kafka import KafkaSettings

from .server import ServerCommand, ServerFailedError
from .service import HOST, Service, free_port, listens
from .software import Software

__all__ = ["NOTICES_TOPIC", "Kafka"]

NOTICES_TOPIC = "bucket-notices"
"""Topic that the S3 store publishes to."""

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},SASL://{host}:{sasl_port},TLS://{host}:{tls_port},\
SASLTLS://{host}:{sasl_tls_port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port},SASL://{host}:{sasl_port},TLS://{host}:{tls_port},\
SASLTLS://{host}:{sasl_tls_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,SASLTLS:SASL_SSL,\
CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasltls.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.location={key_store}
ssl.keystore.password={key_store_password}
log.dirs={data}
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=true
log.retention.hours=24
message.max.bytes=10485760
replica.fetch.max.bytes=10485760
metadata.max.idle.interval.ms=0
log.cleaner.dedupe.buffer.size=4194304
"""
"""The last two suit one small node: an idle one takes less processor time and memory. Sessions stay short:
a broker that was killed may only register again when its old session has ended."""


class Kafka(Service):
    """Kafka cluster of one node.

    Attributes
    ----------
    port, sasl_port, tls_port, sasl_tls_port, controller_port
        Ports for plain text, SASL SCRAM-SHA-512, TLS, SASL over TLS, and the controller.
    username, password
        Credentials for the SASL listeners.
    key_store_password
        Password of the file with the certificate's key.
    """

    name: ClassVar[str] = "kafka"

    port: int = Field(default_factory=free_port)
    sasl_port: int = Field(default_factory=free_port)
    tls_port: int = Field(default_factory=free_port)
    sasl_tls_port: int = Field(default_factory=free_port)
    controller_port: int = Field(default_factory=free_port)
    username: str = "prompt"
    password: str = Field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    key_store_password: str = Field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)

    @property
    def bootstrap_servers(self) -> str:
        """Address of the plain text listener."""
        return f"{HOST}:{self.port}"

    @property
    def sasl_servers(self) -> str:
        """Address of the SASL listener."""
        return f"{HOST}:{self.sasl_port}"

    @property
    def plain(self) -> KafkaSettings:
        """Client settings for plain text."""
        return KafkaSettings(bootstrap_servers=self.bootstrap_servers)

    @property
    def sasl(self) -> KafkaSettings:
        """Client settings with user and password."""
        return KafkaSettings(
            bootstrap_servers=self.sasl_servers,
            username=SecretStr(self.username),
            password=SecretStr(self.password),
        )

    @property
    def ca_file(self) -> Path:
        """Self-signed certificate of the TLS listeners (PEM)."""
        return self.folder / "certificate.pem"

    @property
    def tls(self) -> KafkaSettings:
        """Client settings for TLS."""
        return KafkaSettings(bootstrap_servers=f"{HOST}:{self.tls_port}", ca_file=self.ca_file)

    @property
    def sasl_tls(self) -> KafkaSettings:
        """Client settings for TLS with user and password."""
        servers = f"{HOST}:{self.sasl_tls_port}"
        return self.sasl.model_copy(update={"bootstrap_servers": servers, "ca_file": self.ca_file})

    def prepare(self, software: Software) -> None:
        """Create the certificate, format the storage, and create the user."""
        properties = self.folder / "server.properties"
        data = self.folder / "data"
        self._certify(software)
        names = {**self.model_dump(exclude={"folder"}), "key_store": self._key_store}
        properties.write_text(_PROPERTIES.format(host=HOST, data=data, **names))
        if (data / "meta.properties").is_file():
            return
        cluster = _make_cluster_id()
        user = f"SCRAM-SHA-512=[name={self.username},password={self.password}]"
        done = subprocess.run(
            [
                *self._java(software, "-Xmx128m"),
                "kafka.tools.StorageTool",
                "format",
                "--cluster-id",
                cluster,
                "--config",
                str(properties),
                "--add-scram",
                user,
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode != 0:
            # A partly formatted folder would look formatted.
            shutil.rmtree(data, ignore_errors=True)
            raise ServerFailedError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")

    def command(self, software: Software) -> ServerCommand:
        """Return the command that starts the server."""
        # Full optimisation costs more than it saves for a server that runs for minutes.
        java = self._java(software, "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
        return ServerCommand([*java, "kafka.Kafka", str(self.folder / "server.properties")], self.folder)

    def ready(self) -> bool:
        """Return whether the server responds."""
        if not listens(self.port):
            return False
        try:
            return bool(
                AdminClient({"bootstrap.servers": self.bootstrap_servers}).list_topics(timeout=2).brokers
            )
        except KafkaException:
            return False

    def set_up(self) -> None:
        """Create the topic of arrival notices."""
        self.create_topics(NOTICES_TOPIC)

    def create_topics(self, *topics: str, partitions: int = 1) -> None:
        """Create topics that do not exist.

        Parameters
        ----------
        *topics
            Names of the topics.
        partitions
            Partitions of each topic.
        """
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        existing = admin.list_topics(timeout=10).topics
        wanted = [NewTopic(topic, num_partitions=partitions) for topic in topics if topic not in existing]
        if wanted:
            for made in admin.create_topics(wanted, operation_timeout=20).values():
                made.result(timeout=20)

    def environment(self) -> dict[str, str]:
        """Return the settings of clients."""
        return {
            "KAFKA_CLUSTER": self.bootstrap_servers,
            "BUCKET_TOPIC": NOTICES_TOPIC,
            "AP_KAFKA_SERVER": self.sasl_servers,
            "AP_KAFKA_PRODUCER_USERNAME": self.username,
            "AP_KAFKA_PRODUCER_PASSWORD": self.password,
        }

    def address(self) -> str:
        """Return the addresses of all listeners."""
        return (
            f"{self.bootstrap_servers} (plain), {self.sasl_servers} (SCRAM-SHA-512), "
            f"{HOST}:{self.tls_port} (TLS), {HOST}:{self.sasl_tls_port} (SCRAM-SHA-512 over TLS)"
        )

    @property
    def _key_store(self) -> Path:
        return self.folder / "certificate.p12"

    def _certify(self, software: Software) -> None:
        """Create a certificate for this host, with Java's keytool."""
        if self.ca_file.is_file():
            return
        tool = [str(Path(software.java().path).resolve().with_name("keytool"))]
        store = ["-keystore", str(self._key_store), "-storepass:env", "KEY_STORE_PASSWORD", "-alias", "kafka"]
        validity = ["-keyalg", "EC", "-dname", "CN=kafka", "-validity", "3650"]
        names = ["-ext", f"SAN=ip:{HOST},dns:localhost", "-ext", "BC=ca:true"]
        self._key_store.unlink(missing_ok=True)
        for arguments in (
            ["-genkeypair", "-storetype", "PKCS12", *validity, *names],
            ["-exportcert", "-rfc", "-file", str(self.ca_file)],
        ):
            done = subprocess.run(
                [*tool, *arguments, *store],
                env={**os.environ, "KEY_STORE_PASSWORD": self.key_store_password},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            if done.returncode != 0:
                raise ServerFailedError(
                    f"Kafka's certificate could not be created:\n{done.stdout}{done.stderr}"
                )

    def _java(self, software: Software, *options: str) -> Sequence[str]:
        java = software.java()
        return [str(java.path), *options, "-cp", f"{software.kafka_libraries()}/*"]


def _make_cluster_id() -> str:
    # The first byte is fixed: an id that begins with a dash would be parsed as an option.
    return urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
