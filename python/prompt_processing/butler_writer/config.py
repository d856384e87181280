"""Settings of the Butler writer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prompt_processing.settings.kafka import KafkaClusterSettings

__all__ = ["WriterSettings"]


class WriterSettings(KafkaClusterSettings):
    """Settings of the writer; each is the environment variable of its name in capitals."""

    butler_repository: str
    """URI of the central repository."""
    kafka_topic: str
    """Where workers publish what they have written."""
    kafka_output_topic: str
    """Where it is told what has been entered."""
    output_dataset_list_directory: str
    """URI of the directory for the lists of what has been entered."""
    writer_debug_level: Literal["TRACE", "VERBOSE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """Level of the service's log."""
    metrics_port: int = Field(default=0, ge=0, lt=65536)
    """Port of the Prometheus metrics; 0 serves none."""
    writer_retry_delay: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    """Seconds before a repository that failed is tried again; doubled each time, up to a minute."""
