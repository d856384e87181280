"""Settings of the alert stream, for workers and for the resending of alerts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import SecretStr

from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.settings.kafka import CaFile, KafkaVariables, Mechanism, Protocol, SecuritySettings

__all__ = ["AlertSettings", "ResendSettings"]


class AlertSettings(SecuritySettings):
    """Settings of the alert stream; each is the environment variable of the same name in capitals."""

    local_repos: str = "/tmp"
    """Directory in which each worker creates its local repository."""
    ap_kafka_server: str | None = None
    """Bootstrap servers of the alert stream's Kafka cluster; without it, no alerts are sent."""
    ap_kafka_topic: str | None = None
    """Topic of the alerts."""
    ap_kafka_producer_username: SecretStr | None = None
    """User of that cluster (SASL)."""
    ap_kafka_producer_password: SecretStr | None = None
    """Password of that user."""
    ap_kafka_security_protocol: Protocol | None = None
    """Security protocol of that cluster; ``SECURITY_PROTOCOL`` by default."""
    ap_kafka_sasl_mechanism: Mechanism | None = None
    """SASL mechanism of that cluster; ``SASL_MECHANISM`` by default."""
    ap_kafka_ca_file: CaFile | None = None
    """Certificate authorities of that cluster; ``SSL_CA_FILE`` by default."""
    alert_keep_dir: str | None = None
    """Directory of alerts that are not yet acknowledged; by default below ``LOCAL_REPOS``."""
    alert_keep_store: str | None = None
    """URI of a folder to which unsent alerts are moved, for a directory that ends with the pod."""

    alert_variables: ClassVar[KafkaVariables] = KafkaVariables(
        "ap_kafka_server",
        credentials=(("ap_kafka_producer_username", "ap_kafka_producer_password"),),
        security_protocol=("ap_kafka_security_protocol", "security_protocol"),
        mechanism=("ap_kafka_sasl_mechanism", "sasl_mechanism"),
        ca_file=("ap_kafka_ca_file", "ssl_ca_file"),
    )
    kafka_clients: ClassVar[tuple[KafkaVariables, ...]] = (alert_variables,)

    @classmethod
    def problems_between(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Check that a server has a topic; see `EnvironmentSettings.problems_between`."""
        yield from super().problems_between(values)
        if values.get("ap_kafka_server") and not values.get("ap_kafka_topic"):
            yield "ap_kafka_topic", "not set, but AP_KAFKA_SERVER is"

    @property
    def alert_stream(self) -> AlertStreamSettings:
        """Destination of alerts, and storage for unsent ones."""
        return AlertStreamSettings(
            broker=self.alert_variables.settings(vars(self)),
            topic=self.ap_kafka_topic or "",
            keep_directory=Path(self.alert_keep_dir or Path(self.local_repos) / "unsent-alerts"),
            keep_store=self.alert_keep_store,
        )


class ResendSettings(AlertSettings):
    """Settings of the command that sends alerts again."""

    config_apdb: str | None = None
    """URI of the APDB's configuration; the APDB shows whether to send the alerts of a killed worker."""
