"""What the environment tells the Butler writer."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from prompt_processing.transport.kafka import KafkaSettings

__all__ = ["WriterSettings", "WriterSettingsError"]


class WriterSettingsError(Exception):
    """Settings are missing or malformed; the message names all of them, and no value."""


class WriterSettings(BaseSettings):
    """Settings of the writer; each is the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    butler_repository: str
    """URI of the central repository."""
    kafka_cluster: str
    """Bootstrap servers."""
    kafka_topic: str
    """Where workers publish what they have written."""
    kafka_output_topic: str
    """Where it is told what has been entered."""
    kafka_username: SecretStr | None = None
    """User (SASL SCRAM-SHA-512); plain text without."""
    kafka_password: SecretStr | None = None
    """Password of that user."""
    output_dataset_list_directory: str
    """URI of the directory for the lists of what has been entered."""
    writer_debug_level: Literal["TRACE", "VERBOSE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """Level of the service's log."""
    metrics_port: int = Field(default=0, ge=0, lt=65536)
    """Port of the Prometheus metrics; 0 serves none."""
    writer_retry_delay: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    """Seconds before a repository that failed is tried again; doubled each time, up to a minute."""

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
        WriterSettingsError
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
            raise WriterSettingsError("\n".join(problems)) from error
