"""Destination of alerts, and storage for unsent ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prompt_processing.transport.kafka import KafkaSettings

__all__ = ["AlertStreamSettings"]


@dataclass(frozen=True, slots=True)
class AlertStreamSettings:
    """Destination of alerts, and storage for unsent ones.

    Attributes
    ----------
    broker : `~prompt_processing.transport.kafka.KafkaSettings` or `None`
        The cluster; `None` if no broker is configured.
    topic : `str`
        Topic of the alerts.
    keep_directory : `~pathlib.Path`
        Directory of alerts that are not yet acknowledged.
    timeout_seconds : `float`
        Seconds within which a visit's alerts must be acknowledged.
    keep_store : `str` or `None`
        URI of a folder, for example in an object store, to which unsent alerts
        are moved because the directory ends with the pod; `None` for no store.
    folder : `~pathlib.Path` or `None`
        Folder that alerts are written to as Avro files where no broker is configured.
    """

    broker: KafkaSettings | None = None
    topic: str = ""
    keep_directory: Path = Path("/tmp/unsent-alerts")
    timeout_seconds: float = 15.0
    keep_store: str | None = None
    folder: Path | None = None
