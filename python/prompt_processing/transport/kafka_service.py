"""What the environment tells every small service on Kafka."""

from __future__ import annotations

from typing import Self

from pydantic import SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .kafka import KafkaSettings

__all__ = ["KafkaServiceSettings", "ServiceSettingsError"]


class ServiceSettingsError(Exception):
    """Settings are missing or malformed; the message names all of them, and no value."""


class KafkaServiceSettings(BaseSettings):
    """Settings of a service; each is the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

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

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises
        ------
        ServiceSettingsError
            Raised with all that is missing or malformed.
        """
        try:
            return cls()
        except ValidationError as error:
            problems = [
                f"{'.'.join(str(part) for part in item['loc']).upper() or 'settings'}: "
                f"{'not set' if item['type'] == 'missing' else item['msg']}"
                for item in error.errors(include_input=False, include_url=False)
            ]
            raise ServiceSettingsError("\n".join(problems)) from error
