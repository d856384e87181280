"""Settings of the raw microservice."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import NoDecode

from prompt_processing.instruments.description.registry import night_key_names
from prompt_processing.settings.buckets import has_known_profile
from prompt_processing.settings.kafka import KafkaClusterSettings

__all__ = ["MicroserviceSettings"]


class MicroserviceSettings(KafkaClusterSettings):
    """Settings of the service; each is the environment variable of the same name in capitals."""

    image_bucket: Annotated[str, AfterValidator(has_known_profile)]
    """Bucket in which raw images arrive, or its URI with a profile: ``s3://profile@bucket``."""
    s3_endpoint_url: str | None = None
    """URL of the S3 store; AWS by default."""
    lsst_disable_bucket_validation: bool = False
    """Whether bucket names outside the S3 standard are allowed."""
    bucket_topic: str
    """Topic of the arrival notices."""
    supported_instruments: Annotated[tuple[str, ...], NoDecode] = Field(default_factory=night_key_names)
    """Instruments that the service supports; blank-separated in the environment."""
    bucket_interval: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    """Seconds for which an answer of the bucket is reused for the same group."""
    port: int = Field(default=8080, ge=0, lt=65536)
    """Port of the service."""
    threads: int = Field(default=32, ge=1)
    """Number of requests that are answered at once."""

    @model_validator(mode="before")
    @classmethod
    def _split(cls, values: object) -> object:
        if isinstance(values, dict) and isinstance(values.get("supported_instruments"), str):
            return {**values, "supported_instruments": tuple(values["supported_instruments"].split())}
        return values

    @model_validator(mode="after")
    def _instruments_are_known(self) -> Self:
        unknown = sorted(set(self.supported_instruments) - set(night_key_names()))
        if unknown:
            raise ValueError(f"SUPPORTED_INSTRUMENTS: {', '.join(unknown)} has no object keys by night")
        return self
