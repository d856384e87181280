"""Keep the alerts of a night as Avro files by visit and detector, with an index."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import pandas as pd
import pyarrow as pa

from prompt_processing.alerts.reading import AlertReader, FoundAlert, UnreadableAlertError

from .errors import ArchiveError
from .manifest import ArchivedFile, NightManifest, write_whole
from .nights import NightInterval
from .parquet import read_columns, write_parquet

__all__ = [
    "ALERTS",
    "INDEX",
    "AlertCounts",
    "archive_alerts",
    "archived_alert",
    "read_alert_files",
    "without_damaged",
]

ALERTS = "alerts"
INDEX = "alert_index"

_INDEX_SCHEMA = pa.schema(
    [
        ("diaSourceId", pa.int64()),
        ("diaObjectId", pa.int64()),
        ("ssObjectId", pa.int64()),
        ("visit", pa.int64()),
        ("detector", pa.int16()),
        ("band", pa.string()),
        ("midpointMjdTai", pa.float64()),
        ("ra", pa.float64()),
        ("dec", pa.float64()),
        ("psfFlux", pa.float32()),
        ("snr", pa.float32()),
        ("reliability", pa.float32()),
        ("isNegative", pa.bool_()),
        ("file", pa.string()),
        ("record", pa.int32()),
    ]
)
_IN_MEMORY = 2_000
"""Alerts that are kept in memory before they are written; each takes about 60 kB."""


@dataclass(slots=True)
class AlertCounts:
    """What became of the alerts that were read.

    Attributes
    ----------
    new, known, other_nights
        Alerts that were archived now, that the archive had, and that belong to other nights.
    unreadable
        Reasons why others cannot be read.
    """

    new: int = 0
    known: int = 0
    other_nights: int = 0
    unreadable: list[str] = field(default_factory=list)


def read_alert_files(paths: Iterable[Path], reader: AlertReader | None = None) -> Iterator[FoundAlert]:
    """Yield the alerts of files and folders, as `~prompt_processing.alerts.reading.AlertReader.read` does."""
    reader = reader or AlertReader()
    for path in paths:
        yield from reader.read(path)


def archive_alerts(
    root: Path, night: NightInterval, manifest: NightManifest, alerts: Iterable[FoundAlert]
) -> tuple[NightManifest, AlertCounts]:
    """Add the alerts of a night that the archive does not have yet.

    Each alert is archived once, by the id of its DiaSource. Files are Avro object containers that hold the
    schema of their alerts.

    Parameters
    ----------
    root
        Folder of the archive.
    night
        The night; alerts of other nights are counted.
    manifest
        What the archive has; it is not changed.
    alerts
        Alerts in any order.

    Returns
    -------
    manifest
        With the new files; not yet written to the archive.
    counts
        Numbers of alerts.

    Raises
    ------
    OSError
        Raised if a file cannot be written.
    """
    updated = manifest.model_copy(deep=True)
    folder = root / "alerts" / f"day_obs={night.day_obs}"
    index = _read_index(root, updated)
    known = set(index["diaSourceId"].tolist())
    counts = AlertCounts()
    part = manifest.next_part()
    waiting: dict[tuple[int, int], list[FoundAlert]] = {}
    rows: list[dict[str, Any]] = []

    def flush() -> None:
        for (visit, detector), some in sorted(waiting.items()):
            for group in _by_schema(some):
                path = _free(root, folder, f"{visit}_{detector}", updated)
                rows.extend(_write(root, path, group))
                updated.files.append(ArchivedFile.of(root, path, ALERTS, len(group), part))
        waiting.clear()

    n_waiting = 0
    for alert in alerts:
        if isinstance(alert.content, UnreadableAlertError):
            counts.unreadable.append(str(alert.content))
            continue
        source = alert.content["diaSource"]
        if not night.begin <= source["midpointMjdTai"] < night.end:
            counts.other_nights += 1
        elif source["diaSourceId"] in known:
            counts.known += 1
        else:
            known.add(source["diaSourceId"])
            counts.new += 1
            waiting.setdefault((source["visit"], source["detector"]), []).append(alert)
            n_waiting += 1
            if n_waiting >= _IN_MEMORY:
                flush()
                n_waiting = 0
    flush()
    if rows:
        path = folder / "index.parquet"
        new = pd.DataFrame(rows, columns=_INDEX_SCHEMA.names)
        whole = new if index.empty else pd.concat([index, new], ignore_index=True)
        write_parquet(path, [whole.sort_values("diaSourceId")], _INDEX_SCHEMA)
        updated.files = [file for file in updated.files if file.table != INDEX]
        updated.files.append(ArchivedFile.of(root, path, INDEX, len(whole), part))
    return updated, counts


def without_damaged(root: Path, manifest: NightManifest, damaged: Container[str]) -> NightManifest:
    """Return a manifest without damaged files of alerts, whose index is made again of the others.

    Raises
    ------
    OSError
        Raised if the index cannot be written.
    """
    whole = [file for file in manifest.of_table(ALERTS) if file.file not in damaged]
    rows: list[dict[str, Any]] = []
    for file in whole:
        with (root / file.file).open("rb") as opened:
            rows += _index_rows(file.file, fastavro.reader(opened))
    updated = manifest.model_copy(deep=True)
    updated.files = [one for one in updated.files if one.table not in (ALERTS, INDEX)] + whole
    if rows:
        path = root / "alerts" / f"day_obs={manifest.day_obs}" / "index.parquet"
        index = pd.DataFrame(rows, columns=_INDEX_SCHEMA.names).sort_values("diaSourceId")
        write_parquet(path, [index], _INDEX_SCHEMA)
        updated.files.append(ArchivedFile.of(root, path, INDEX, len(rows), whole[-1].part))
    return updated


def archived_alert(root: Path, day_obs: int, source_id: int) -> dict[str, Any]:
    """Return one alert of the archive, found by the index.

    Raises
    ------
    ArchiveError
        Raised if the night has no alert of this DiaSource.
    """
    index = _read_index(root, NightManifest.read(root, day_obs))
    found = index[index["diaSourceId"] == source_id]
    if found.empty:
        raise ArchiveError(f"The archive of {day_obs} has no alert of the DiaSource {source_id}.")
    row = found.iloc[0]
    with (root / row["file"]).open("rb") as file:
        for number, record in enumerate(fastavro.reader(file)):
            if number == row["record"] and isinstance(record, dict):
                return record
    raise ArchiveError(f"{row['file']} is damaged: run prompt export-night --check.")


def _read_index(root: Path, manifest: NightManifest) -> pd.DataFrame:
    table = read_columns([root / file.file for file in manifest.of_table(INDEX)], _INDEX_SCHEMA.names)
    return _INDEX_SCHEMA.empty_table().to_pandas() if table is None else table.to_pandas()


def _by_schema(alerts: list[FoundAlert]) -> list[list[FoundAlert]]:
    """Group alerts that have the same schema."""
    forms: dict[int, str] = {}
    groups: dict[str, list[FoundAlert]] = {}
    for alert in alerts:
        if id(alert.schema) not in forms:
            forms[id(alert.schema)] = fastavro.schema.to_parsing_canonical_form(alert.schema)
        groups.setdefault(forms[id(alert.schema)], []).append(alert)
    return list(groups.values())


def _free(root: Path, folder: Path, stem: str, manifest: NightManifest) -> Path:
    """Return the first name that the manifest lacks; an export that died may have left a file there."""
    taken = {file.file for file in manifest.of_table(ALERTS)}
    path, number = folder / f"{stem}.avro", 1
    while path.relative_to(root).as_posix() in taken:
        number += 1
        path = folder / f"{stem}.{number}.avro"
    return path


def _write(root: Path, path: Path, alerts: list[FoundAlert]) -> list[dict[str, Any]]:
    """Write alerts into one file, and return their rows of the index."""
    records = [alert.content for alert in alerts if isinstance(alert.content, dict)]
    with write_whole(path) as partial, partial.open("wb") as file:
        fastavro.writer(file, alerts[0].schema, records, codec="deflate")
    return _index_rows(path.relative_to(root).as_posix(), records)


def _index_rows(name: str, records: Iterable[Any]) -> list[dict[str, Any]]:
    of_source = [one for one in _INDEX_SCHEMA.names if one not in ("file", "record")]
    return [
        {column: record["diaSource"].get(column) for column in of_source} | {"file": name, "record": number}
        for number, record in enumerate(records)
    ]
