"""Settings of the alert stream, for all who send alerts or send them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import SecretStr

from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.settings.kafka import CaFile, KafkaVariables, Mechanism, Protocol, SecuritySettings

__all__ = ["AlertSettings", "ResendSettings"]


class AlertSettings(SecuritySettings):
    """Where alerts go; each is the environment variable of its name in capitals."""

    local_repos: str = "/tmp"
    """Directory under which each worker makes its local repository."""
    ap_kafka_server: str | None = None
    """Kafka that alerts go to; none are sent without it."""
    ap_kafka_topic: str | None = None
    """Topic of the alerts."""
    ap_kafka_producer_username: SecretStr | None = None
    """User of the alert brokers' Kafka (SASL)."""
    ap_kafka_producer_password: SecretStr | None = None
    """Password of that user."""
    ap_kafka_security_protocol: Protocol | None = None
    """Security protocol of that Kafka; ``SECURITY_PROTOCOL`` by default."""
    ap_kafka_sasl_mechanism: Mechanism | None = None
    """SASL mechanism of that Kafka; ``SASL_MECHANISM`` by default."""
    ap_kafka_ca_file: CaFile | None = None
    """Certificate authorities of that Kafka; ``SSL_CA_FILE`` by default."""
    alert_keep_dir: str | None = None
    """Directory of alerts on their way and of those that no broker took; by default below ``LOCAL_REPOS``."""
    alert_keep_store: str | None = None
    """URI of a folder that the latter are moved to, if the directory ends with the pod."""

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
        """Where alerts go."""
        return AlertStreamSettings(
            broker=self.alert_variables.settings(vars(self)),
            topic=self.ap_kafka_topic or "",
            keep_directory=Path(self.alert_keep_dir or Path(self.local_repos) / "unsent-alerts"),
            keep_store=self.alert_keep_store,
        )


class ResendSettings(AlertSettings):
    """Settings of the command that sends alerts again."""

    config_apdb: str | None = None
    """URI of the APDB's configuration, which knows whether a killed worker's alerts are to be sent."""
