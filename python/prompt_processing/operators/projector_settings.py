"""Settings of the projector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, SecretStr

from prompt_processing.settings.kafka import KafkaClusterSettings
from prompt_processing.settings.outcomes import OutcomeSettings

__all__ = ["ProjectorSettings"]


class ProjectorSettings(OutcomeSettings, KafkaClusterSettings):
    """Settings of the projector; each is the environment variable of the same name in capitals.

    ``KAFKA_CLUSTER`` is the cluster with the outcomes.
    """

    kafka_cluster: str = ""
    """Bootstrap servers of Kafka, ``host:port``, comma-separated; needed with ``OUTCOME_TOPIC``."""
    nights_database: SecretStr
    """URL of the database, SQLite or PostgreSQL, or path of an SQLite file. Its tables are made."""
    outcome_consumer_group: str = "prompt-nights"
    """Consumer group of the projectors of one database."""
    metrics_port: int = Field(default=0, ge=0, lt=65536)
    """Port of ``/metrics`` and ``/health``; 0 for none."""

    @classmethod
    def problems_between(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Check that there is a source; see `EnvironmentSettings.problems_between`."""
        yield from super().problems_between(values)
        if not values.get("outcome_topic") and not values.get("outcome_dir"):
            yield "outcome_topic", "not set, and neither is OUTCOME_DIR"
        if values.get("outcome_topic") and not values.get("kafka_cluster"):
            yield "kafka_cluster", "not set, but OUTCOME_TOPIC is"
