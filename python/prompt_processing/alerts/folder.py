"""Write alerts into a folder, as Avro files that any reader of Avro can open."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import fastavro

from prompt_processing.transport.schema_registry import unframe

from .packets import Alert
from .reading import AlertReader, packaged_schema

__all__ = ["write_alert_file"]


def write_alert_file(folder: Path, visit: int, detector: int, alerts: Iterable[Alert]) -> tuple[int, float]:
    """Write the alerts of a visit-detector into one Avro object container, ``<visit>_<detector>.avro``.

    The file appears when it is complete. Without an alert, none is written.

    Parameters
    ----------
    folder
        Folder, created if missing.
    visit, detector
        Ids.
    alerts
        Alerts of the visit-detector.

    Returns
    -------
    number
        Number of alerts.
    finished
        Unix time (UTC, seconds) at which the file was complete.

    Raises
    ------
    OSError
        Raised if the file cannot be written.
    """
    alerts = list(alerts)
    if not alerts:
        return 0, time.time()
    reader = AlertReader()
    schema_id, _ = unframe(alerts[0].message)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{visit}_{detector}.avro"
    partial = folder / f".{path.name}.part"
    with partial.open("wb") as file:
        records = (reader.decode(alert.message) for alert in alerts)
        fastavro.writer(file, packaged_schema(divmod(schema_id, 100)), records, codec="deflate")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return len(alerts), time.time()
