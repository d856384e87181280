"""Settings of Kafka clients: the same group of variables for every process and every cluster.

The variables of a cluster begin with its prefix, such as ``AP_KAFKA_SECURITY_PROTOCOL``. Their defaults are
``SECURITY_PROTOCOL``, ``SASL_MECHANISM`` and ``SSL_CA_FILE``, which apply to all clusters of a process.
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
        raise ValueError(f"{path} contains no certificate in PEM format") from error
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
    """Names of the settings of one Kafka client.

    If several names are given, the first one that is set applies.

    Attributes
    ----------
    servers : `str`
        Name of the bootstrap servers; without them no client is made.
    credentials : `tuple` [`tuple` [`str`, `str`], ...]
        Names of user and password.
    security_protocol, mechanism, ca_file : `tuple` [`str`, ...]
        Name for the cluster first, then the process-wide name.
    """

    servers: str
    credentials: tuple[tuple[str, str], ...]
    security_protocol: tuple[str, ...]
    mechanism: tuple[str, ...]
    ca_file: tuple[str, ...]

    def problems(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Find missing and contradictory settings; see `EnvironmentSettings.problems_between`."""
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
        """Return the settings of the client.

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
    """Defaults for all Kafka clusters of a process."""

    security_protocol: Protocol | None = None
    """Security protocol of Kafka; by default SASL with a user, TLS with a CA file, otherwise plain text."""
    sasl_mechanism: Mechanism | None = None
    """SASL mechanism of Kafka; ``SCRAM-SHA-512`` by default."""
    ssl_ca_file: CaFile | None = None
    """File of certificate authorities (PEM) that sign servers' certificates; by default the system's."""

    kafka_clients: ClassVar[tuple[KafkaVariables, ...]] = ()
    """All Kafka clients of the process."""

    @classmethod
    def problems_between(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Check the settings of each client; see `EnvironmentSettings.problems_between`."""
        yield from super().problems_between(values)
        for client in cls.kafka_clients:
            yield from client.problems(values)


class KafkaClusterSettings(SecuritySettings):
    """Settings of the main Kafka cluster of a process."""

    kafka_cluster: str
    """Bootstrap servers of Kafka, ``host:port``, comma-separated."""
    kafka_username: SecretStr | None = None
    """User of that cluster (SASL); ``SASL_USERNAME`` is an alias."""
    kafka_password: SecretStr | None = None
    """Password of that user; ``SASL_PASSWORD`` is an alias."""
    sasl_username: SecretStr | None = None
    """Alias of ``KAFKA_USERNAME``."""
    sasl_password: SecretStr | None = None
    """Alias of ``KAFKA_PASSWORD``."""
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
        """Connection to the cluster."""
        settings = self.cluster_variables.settings(vars(self))
        assert settings is not None, "validated"
        return settings


class SchemaRegistrySettings(SecuritySettings):
    """Settings of the registry of Avro schemas."""

    kafka_schema_registry_url: str = ""
    """URL of the schema registry (``https://`` or ``http://``); without it, messages are JSON."""
    kafka_schema_registry_username: SecretStr | None = None
    """User of the registry (HTTP basic authentication)."""
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
