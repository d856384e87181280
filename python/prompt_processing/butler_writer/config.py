"""Settings of the Butler writer."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from prompt_processing.settings.kafka import KafkaClusterSettings

__all__ = ["WriterSettings"]


def _pattern(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from error


def _level(value: Any) -> Any:
    # The names that Python's logging knows besides its own levels', in any case.
    name = value.upper() if isinstance(value, str) else value
    return {"WARN": "WARNING", "FATAL": "CRITICAL", "NOTSET": "TRACE"}.get(name, name)


class WriterSettings(KafkaClusterSettings):
    """Settings of the writer; each is the environment variable of the same name in capitals."""

    butler_repository: str
    """URI of the central repository."""
    kafka_topic: str
    """Topic on which workers announce their outputs."""
    kafka_output_topic: str
    """Topic on which the writer announces entered datasets."""
    kafka_transactional_id: Annotated[str, Field(max_length=249)] = "butler-writer-output"
    """Transactional id of the producer, which the cluster's ACLs must allow. Writers that run at once need
    different ids: a writer that starts with the id of another one stops it."""
    kafka_debug: bool = False
    """Whether the Kafka clients log all that they do."""
    output_run_regexp: Annotated[re.Pattern[str], NoDecode, BeforeValidator(_pattern)] = re.compile(".*")
    """Regular expression that the whole name of an output run must match; any by default. A message with
    another run is left behind."""
    output_dataset_list_directory: str
    """URI of the directory for lists of entered datasets."""
    writer_debug_level: Annotated[
        Literal["TRACE", "VERBOSE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_level)
    ] = "INFO"
    """Level of the service's log."""
    metrics_port: int = Field(default=0, ge=0, lt=65536)
    """Port of the Prometheus metrics; 0 serves none."""
    writer_retry_delay: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    """Seconds before a failed repository is tried again; doubled each time, up to a minute."""
