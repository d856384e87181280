"""Convert measured sources to rows of the APDB's DiaSource table."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from astropy.table import Table
from astropy.time import Time
from numpy.typing import NDArray

from prompt_processing.apdb.tables import ApdbTable, table_columns
from prompt_processing.images import VisitInfo

_LOG = logging.getLogger("lsst.prompt_processing.standardizeDiaSource")


@dataclass(frozen=True, slots=True)
class StandardizedSources:
    """DiaSources in the form of the APDB.

    Attributes
    ----------
    sources : `~pandas.DataFrame`
        DiaSources with all columns of the table, not yet associated.
    n_unplaceable
        Number of sources excluded because a required position or time is not finite.
    """

    sources: pd.DataFrame
    n_unplaceable: int


def standardize_dia_sources(
    measured: Table,
    reliability: Table | None,
    visit_info: VisitInfo,
    table: ApdbTable,
    processed: Time,
) -> StandardizedSources:
    """Convert measured sources to rows of the DiaSource table.

    Parameters
    ----------
    measured : `~astropy.table.Table`
        Columns with a name of the DiaSource table are copied (ra, dec
        and their errors in degrees, x, y in pixels, fluxes in nJy); others
        are ignored. ``diaSourceId`` is required.
    reliability : `~astropy.table.Table` or `None`
        Columns ``diaSourceId``, ``score`` and ``version``; a source without a row
        has no reliability.
    visit_info
        Identity, time and filter of the visit.
    table : `ApdbTable`
        The DiaSource table.
    processed
        Time of the computation.

    Returns
    -------
    standardized : `StandardizedSources`

    Raises
    ------
    MissingColumnsError
        Raised if ``measured`` lacks a column without a default.
    ValueError
        Raised if two sources have the same id.
    """
    columns = table_columns(measured)
    n_sources = len(measured)
    columns |= {
        "visit": np.full(n_sources, visit_info.exposure, np.int64),
        "detector": np.full(n_sources, visit_info.detector, np.int16),
        "band": np.full(n_sources, visit_info.band, object),
        "midpointMjdTai": np.full(n_sources, visit_info.mid_mjd_tai),
        "exposureTime": np.full(n_sources, visit_info.exposure_time),
        "timeProcessedMjdTai": np.full(n_sources, float(processed.tai.mjd)),
        "diaObjectId": np.full(n_sources, None, object),
        "ssObjectId": np.full(n_sources, None, object),
    }
    if reliability is not None and "diaSourceId" in columns:
        columns |= _reliability_of(columns["diaSourceId"], reliability)
    frame = table.conform(columns)
    if frame["diaSourceId"].duplicated().any():
        raise ValueError(f"{int(frame['diaSourceId'].duplicated().sum())} DiaSource ids are duplicated.")
    not_null = [column.name for column in table.columns if column.required]
    usable = np.isfinite(frame[not_null].to_numpy(dtype=np.float64, na_value=np.nan)).all(axis=1)
    n_unplaceable = int((~usable).sum())
    if n_unplaceable:
        _LOG.warning("%d of %d DiaSources have no position and are excluded.", n_unplaceable, n_sources)
        frame = frame[usable].reset_index(drop=True)
    return StandardizedSources(frame, n_unplaceable)


def _reliability_of(ids: NDArray[np.int64], reliability: Table) -> dict[str, NDArray[Any]]:
    scores = pd.DataFrame(table_columns(reliability)).drop_duplicates("diaSourceId").set_index("diaSourceId")
    found = scores.reindex(ids)
    columns: dict[str, NDArray[Any]] = {"reliability": found["score"].to_numpy(np.float32)}
    if "version" in found:
        version = found["version"].astype(object)
        columns["reliabilityVersion"] = version.where(version.notna(), None).to_numpy()
    return columns
