"""Settings of Kafka's clients: the same group of variables for every process and every cluster.

A cluster's own variables begin with its prefix, such as ``AP_KAFKA_SECURITY_PROTOCOL``. Where one is not set,
``SECURITY_PROTOCOL``, ``SASL_MECHANISM`` and ``SSL_CA_FILE`` hold for all clusters of a process.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, SecretStr

from prompt_processing.settings.environment import EnvironmentSettings
from prompt_processing.transport.kafka import DEFAULT_MECHANISM, KafkaSettings
from prompt_processing.transport.schema_registry import SchemaRegistry

__all__ = [
    "CaFile",
    "KafkaClusterSettings",
    "KafkaVariables",
    "Mechanism",
    "Protocol",
    "SchemaRegistrySettings",
    "SecuritySettings",
]

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


def _capitals(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


def _readable_ca_file(path: Path) -> Path:
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError as error:
        raise ValueError(f"{path} holds no certificate in PEM format") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return path


Protocol = Annotated[
    Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
    BeforeValidator(_capitals),
]
Mechanism = Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], BeforeValidator(_capitals)]
CaFile = Annotated[Path, AfterValidator(_readable_ca_file)]


@dataclass(frozen=True)
class KafkaVariables:
    """Names of the settings that one client of Kafka is made from.

    Where several names are given, the first one that is set counts.

    Attributes
    ----------
    servers : `str`
        Bootstrap servers; without them there is no client.
    credentials : `tuple` [`tuple` [`str`, `str`], ...]
        User and password.
    security_protocol, mechanism, ca_file : `tuple` [`str`, ...]
        Own name first, then the process-wide one.
    """

    servers: str
    credentials: tuple[tuple[str, str], ...]
    security_protocol: tuple[str, ...]
    mechanism: tuple[str, ...]
    ca_file: tuple[str, ...]

    def problems(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Find what is missing or contradicts itself; see `EnvironmentSettings.problems_between`."""
        for username, password in self.credentials:
            for absent, present in ((username, password), (password, username)):
                if values.get(present) and not values.get(absent):
                    yield absent, f"not set, but {present.upper()} is"
        name = _first_set(values, self.security_protocol)
        protocol = _capitals(values.get(name)) if name else None
        if name is None or protocol not in _PROTOCOLS or not values.get(self.servers):
            return
        pair = self._pair(values)
        if protocol.startswith("SASL") and not any(values.get(one) for one in pair):
            yield pair[0], f"not set, but {name.upper()} is {protocol}"
        elif not protocol.startswith("SASL") and values.get(pair[0]):
            yield name, f"{protocol} has no user, but {pair[0].upper()} is set"

    def settings(self, values: Mapping[str, Any]) -> KafkaSettings | None:
        """Put the client's settings together.

        Parameters
        ----------
        values : mapping
            Validated settings.

        Returns
        -------
        settings : `~prompt_processing.transport.kafka.KafkaSettings` or `None`
            `None` without servers.
        """
        servers = values.get(self.servers)
        if not servers:
            return None
        username, password = self._pair(values)
        protocol, mechanism, ca_file = (
            _first_set(values, names) for names in (self.security_protocol, self.mechanism, self.ca_file)
        )
        return KafkaSettings(
            bootstrap_servers=servers,
            username=values.get(username),
            password=values.get(password),
            security_protocol=values[protocol] if protocol else None,
            mechanism=values[mechanism] if mechanism else DEFAULT_MECHANISM,
            ca_file=values[ca_file] if ca_file else None,
            credentials_from=f"{username.upper()} and {password.upper()}",
            ca_file_from=(ca_file or self.ca_file[0]).upper(),
        )

    def _pair(self, values: Mapping[str, Any]) -> tuple[str, str]:
        return next(
            (pair for pair in self.credentials if any(values.get(one) for one in pair)), self.credentials[0]
        )


class SecuritySettings(EnvironmentSettings):
    """What holds for every Kafka cluster of a process, unless a cluster has its own."""

    security_protocol: Protocol | None = None
    """Security protocol of Kafka; by default SASL with a user, TLS with a CA file, and else plain text."""
    sasl_mechanism: Mechanism | None = None
    """SASL mechanism of Kafka; ``SCRAM-SHA-512`` by default."""
    ssl_ca_file: CaFile | None = None
    """File of the certificate authorities (PEM) that sign servers' certificates; the system's by default."""

    kafka_clients: ClassVar[tuple[KafkaVariables, ...]] = ()
    """Every client of Kafka that the process has."""

    @classmethod
    def problems_between(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Check each client's group; see `EnvironmentSettings.problems_between`."""
        yield from super().problems_between(values)
        for client in cls.kafka_clients:
            yield from client.problems(values)


class KafkaClusterSettings(SecuritySettings):
    """The cluster that a process belongs to."""

    kafka_cluster: str
    """Bootstrap servers of Kafka, ``host:port``, comma-separated."""
    kafka_username: SecretStr | None = None
    """User there (SASL); also ``SASL_USERNAME``."""
    kafka_password: SecretStr | None = None
    """Password of that user; also ``SASL_PASSWORD``."""
    sasl_username: SecretStr | None = None
    """Another name of ``KAFKA_USERNAME``."""
    sasl_password: SecretStr | None = None
    """Another name of ``KAFKA_PASSWORD``."""
    kafka_security_protocol: Protocol | None = None
    """Security protocol of this cluster; ``SECURITY_PROTOCOL`` by default."""
    kafka_sasl_mechanism: Mechanism | None = None
    """SASL mechanism of this cluster; ``SASL_MECHANISM`` by default."""
    kafka_ca_file: CaFile | None = None
    """Certificate authorities of this cluster; ``SSL_CA_FILE`` by default."""

    cluster_variables: ClassVar[KafkaVariables] = KafkaVariables(
        "kafka_cluster",
        credentials=(("kafka_username", "kafka_password"), ("sasl_username", "sasl_password")),
        security_protocol=("kafka_security_protocol", "security_protocol"),
        mechanism=("kafka_sasl_mechanism", "sasl_mechanism"),
        ca_file=("kafka_ca_file", "ssl_ca_file"),
    )
    kafka_clients: ClassVar[tuple[KafkaVariables, ...]] = (cluster_variables,)

    @property
    def kafka(self) -> KafkaSettings:
        """The cluster."""
        settings = self.cluster_variables.settings(vars(self))
        assert settings is not None, "validated"
        return settings


class SchemaRegistrySettings(SecuritySettings):
    """The registry of Avro schemas."""

    kafka_schema_registry_url: str = ""
    """Where schemas of Avro messages are (``https://`` or ``http://``); without it, messages are JSON."""
    kafka_schema_registry_username: SecretStr | None = None
    """User there (HTTP basic authentication)."""
    kafka_schema_registry_password: SecretStr | None = None
    """Password of that user."""
    kafka_schema_registry_ca_file: CaFile | None = None
    """Certificate authorities of the registry; ``SSL_CA_FILE`` by default."""

    @classmethod
    def problems_between(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Check the address and the credentials; see `EnvironmentSettings.problems_between`."""
        yield from super().problems_between(values)
        url = values.get("kafka_schema_registry_url")
        if url and not str(url).startswith(("http://", "https://")):
            yield "kafka_schema_registry_url", "does not begin with http:// or https://"
        pair = ("kafka_schema_registry_username", "kafka_schema_registry_password")
        for absent, present in (pair, pair[::-1]):
            if values.get(present) and not values.get(absent):
                yield absent, f"not set, but {present.upper()} is"

    @property
    def schema_registry(self) -> SchemaRegistry | None:
        """A client of the registry; `None` if messages are plain JSON."""
        if not self.kafka_schema_registry_url:
            return None
        username, password = self.kafka_schema_registry_username, self.kafka_schema_registry_password
        ca_file = self.kafka_schema_registry_ca_file or self.ssl_ca_file
        return SchemaRegistry(
            self.kafka_schema_registry_url,
            credentials=(
                (username.get_secret_value(), password.get_secret_value()) if username and password else None
            ),
            ca_file=None if ca_file is None else os.fspath(ca_file),
        )


def _first_set(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if values.get(name)), None)
