"""Minimal rows for an APDB."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from astropy.time import Time
from lsst.dax.apdb import Apdb

from prompt_processing.apdb.tables import ApdbSchemas, ApdbTable
from prompt_processing.apdb.write import write_visit_detector

PROCESSED = Time("2026-11-21T03:00:00", scale="tai")


def _rows(table: ApdbTable, n_rows: int, **columns: Any) -> pd.DataFrame:
    values: dict[str, Any] = {
        column.name: ["r"] * n_rows if column.pandas_type == "object" else np.zeros(n_rows, int)
        for column in table.columns
        if column.required
    }
    return table.conform({**values, **{name: [value] * n_rows for name, value in columns.items()}})


def write(
    apdb: Apdb,
    visit: int,
    detector: int,
    first_id: int,
    n_rows: int = 3,
    *,
    processed: Time = PROCESSED,
    first_object: int | None = None,
    ra: float = 10.0,
) -> bool:
    """Write a visit-detector whose rows have ids from ``first_id`` on; objects have the same by default."""
    schemas = ApdbSchemas.of(apdb)
    ids = np.arange(first_id, first_id + n_rows)
    mjd = float(processed.tai.mjd)
    objects = _rows(schemas.dia_object, n_rows, ra=ra, dec=-20.0, validityStartMjdTai=mjd)
    sources = _rows(
        schemas.dia_source, n_rows, visit=visit, detector=detector, ra=ra, dec=-20.0, midpointMjdTai=mjd
    )
    forced = _rows(
        schemas.dia_forced_source,
        n_rows,
        visit=visit,
        detector=detector,
        ra=ra,
        dec=-20.0,
        midpointMjdTai=mjd,
    )
    objects["diaObjectId"] = sources["diaObjectId"] = forced["diaObjectId"] = (
        ids if first_object is None else ids - first_id + first_object
    )
    sources["diaSourceId"] = ids
    return write_visit_detector(apdb, visit, detector, processed, objects, sources, forced)
