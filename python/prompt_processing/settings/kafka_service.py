"""What the environment tells every small service on Kafka."""

from __future__ import annotations

from typing import Self

from pydantic import SecretStr, model_validator

from prompt_processing.settings.environment import EnvironmentSettings
from prompt_processing.transport.kafka import KafkaSettings

__all__ = ["KafkaServiceSettings"]


class KafkaServiceSettings(EnvironmentSettings):
    """Settings of a service; each is the environment variable of its name in capitals."""

    kafka_cluster: str
    """Bootstrap servers."""
    kafka_username: SecretStr | None = None
    """User (SASL SCRAM-SHA-512); plain text without."""
    kafka_password: SecretStr | None = None
    """Password of that user."""

    @model_validator(mode="after")
    def _credentials_are_complete(self) -> Self:
        if (self.kafka_username is None) != (self.kafka_password is None):
            raise ValueError("KAFKA_USERNAME and KAFKA_PASSWORD are needed together")
        return self

    @property
    def kafka(self) -> KafkaSettings:
        """The cluster."""
        return KafkaSettings(
            bootstrap_servers=self.kafka_cluster, username=self.kafka_username, password=self.kafka_password
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log may show."""
        return () if self.kafka_password is None else (self.kafka_password.get_secret_value(),)
