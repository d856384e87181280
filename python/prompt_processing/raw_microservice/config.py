"""What the environment tells the raw microservice."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from prompt_processing.instruments.raw_key import LSST_CAMERA_CODES
from prompt_processing.transport.kafka import KafkaSettings

__all__ = ["MicroserviceSettings", "MicroserviceSettingsError"]


class MicroserviceSettingsError(Exception):
    """Settings are missing or malformed; the message names all of them, and no value."""


class MicroserviceSettings(BaseSettings):
    """Settings of the service; each is the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    image_bucket: str
    """Bucket that raw images arrive in."""
    s3_endpoint_url: str | None = None
    """The S3 store; AWS's by default."""
    lsst_disable_bucket_validation: bool = False
    """Whether bucket names outside the S3 standard are allowed."""
    kafka_cluster: str
    """Kafka that publishes arrival notices."""
    bucket_topic: str
    """Topic of the arrival notices."""
    kafka_username: SecretStr | None = None
    """User (SASL SCRAM-SHA-512); plain text without."""
    kafka_password: SecretStr | None = None
    """Password of that user."""
    supported_instruments: Annotated[tuple[str, ...], NoDecode] = tuple(LSST_CAMERA_CODES)
    """Instruments that are answered for; blank-separated in the environment."""
    bucket_interval: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    """Seconds that an answer of the bucket holds for all who ask about the same group."""
    port: int = Field(default=8080, ge=0, lt=65536)
    """Where it listens."""
    threads: int = Field(default=32, ge=1)
    """Questions that are answered at once."""

    @model_validator(mode="before")
    @classmethod
    def _split(cls, values: object) -> object:
        if isinstance(values, dict) and isinstance(values.get("supported_instruments"), str):
            return {**values, "supported_instruments": tuple(values["supported_instruments"].split())}
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = sorted(set(self.supported_instruments) - set(LSST_CAMERA_CODES))
        if unknown:
            raise ValueError(f"SUPPORTED_INSTRUMENTS: {', '.join(unknown)} is not an LSST camera")
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
        MicroserviceSettingsError
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
            raise MicroserviceSettingsError("\n".join(problems)) from error
