"""Repositories in which the Rubin stack's formatters, types and arrangement are recorded."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from lsst.daf.butler import Butler, DatasetRef, DatasetType, FileDataset

GENERIC = "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter"
EXPOSURE = "lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter"
PICKLE = "lsst.daf.butler.formatters.pickle.PickleFormatter"


def enter(
    butler: Butler,
    name: str,
    storage_class: str,
    data_id: Mapping[str, Any],
    file: Path,
    formatter: str,
    *,
    run: str,
    calibration: bool = False,
) -> DatasetRef:
    """Enter a file as the stack has recorded it."""
    types = {one.name: one for one in butler.registry.queryDatasetTypes()}
    if name not in types:
        dimensions = [key for key in data_id if not key.startswith("_")]
        types[name] = DatasetType(
            name, dimensions, storage_class, isCalibration=calibration, universe=butler.dimensions
        )
        butler.registry.registerDatasetType(types[name])
    butler.collections.register(run)
    full = butler.registry.expandDataId(dict(data_id), dimensions=types[name].dimensions)
    ref = DatasetRef(types[name], full, run=run)
    # Ingested by a formatter that exists everywhere; only its name differs.
    plain = "lsst.daf.butler.formatters.yaml.YamlFormatter"
    butler.ingest(FileDataset(str(file), [ref], formatter=plain), transfer="direct")
    rename(Path(butler._config.configDir.ospath), {ref.id.hex: formatter})  # type: ignore[attr-defined]
    return ref


def rename(repository: Path, formatters: Mapping[str, str]) -> None:
    """Change the recorded formatters, by dataset id."""
    execute(
        repository,
        "UPDATE file_datastore_records SET formatter = ? WHERE dataset_id = ?",
        [(formatter, identity) for identity, formatter in formatters.items()],
    )


def execute(repository: Path, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Change the registry of a repository in SQLite."""
    with closing(sqlite3.connect(repository / "gen3.sqlite3")) as database, database:
        database.executemany(statement, list(rows))
