"""Where alerts go, and where those stay that nobody has taken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prompt_processing.transport.kafka import KafkaSettings

__all__ = ["AlertStreamSettings"]


@dataclass(frozen=True, slots=True)
class AlertStreamSettings:
    """Where alerts go.

    Attributes
    ----------
    broker : `~prompt_processing.transport.kafka.KafkaSettings` or `None`
        `None` if there is no broker.
    topic : `str`
        Topic of the alerts.
    keep_directory : `~pathlib.Path`
        Where alerts stay until they are acknowledged.
    timeout_seconds : `float`
        How long a visit's alerts may take to be acknowledged.
    keep_store : `str` or `None`
        URI of a folder, in an object store for example, that kept alerts are
        moved to where the directory ends with the pod; `None` if it does not.
    """

    broker: KafkaSettings | None = None
    topic: str = ""
    keep_directory: Path = Path("/tmp/unsent-alerts")
    timeout_seconds: float = 15.0
    keep_store: str | None = None
