"""Join DiaObjects with their light curves, one cell of the sky at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy import units as u
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from .parquet import read_columns

__all__ = ["FORCED_COLUMNS", "SOURCE_COLUMNS", "nested", "write_cells"]

SOURCE_COLUMNS = (
    "diaSourceId", "visit", "detector", "midpointMjdTai", "band", "ra", "dec", "raErr", "decErr",
    "psfFlux", "psfFluxErr", "scienceFlux", "scienceFluxErr", "templateFlux", "templateFluxErr",
    "apFlux", "apFluxErr", "snr", "reliability", "extendedness", "isNegative", "isDipole", "trailLength",
    "ssObjectId", "centroid_flag", "psfFlux_flag", "shape_flag", "pixelFlags_bad", "pixelFlags_edge",
    "pixelFlags_saturated", "pixelFlags_streak", "timeProcessedMjdTai", "timeWithdrawnMjdTai",
)  # fmt: skip
"""Columns of a DiaSource in a light curve; the catalogue of DiaSources has all."""
FORCED_COLUMNS = (
    "diaForcedSourceId", "visit", "detector", "midpointMjdTai", "band", "psfFlux", "psfFluxErr",
    "scienceFlux", "scienceFluxErr", "timeProcessedMjdTai", "timeWithdrawnMjdTai",
)  # fmt: skip
"""Columns of a DiaForcedSource in a light curve."""

_ID = "diaObjectId"
_START = "validityStartMjdTai"
_TIME = "midpointMjdTai"
_ROWS_OF_CELL = 100_000
_FINEST_ORDER = 8
_BATCH = 200_000


def nested(objects: pa.Table, **light_curves: pa.Table) -> pa.Table:
    """Join objects with their light curves.

    Parameters
    ----------
    objects
        DiaObjects, each once.
    **light_curves
        Tables of measurements with the columns ``diaObjectId`` and ``midpointMjdTai``, by the name of the new
        column. Rows of other objects are left out.

    Returns
    -------
    joined
        The objects, with one column for each light curve: a struct of lists in the order of time, empty for
        objects without a measurement. ``diaObjectId`` is not repeated in it.
    """
    ids = objects[_ID].to_numpy()
    order = np.argsort(ids, kind="stable")
    for name, rows in light_curves.items():
        place = _place(ids, order, rows[_ID])
        rows = rows.filter(pa.array(place >= 0))
        place = place[place >= 0]
        sequence = np.lexsort((rows[_TIME].to_numpy(), place))
        rows = rows.take(pa.array(sequence)).drop_columns([_ID]).combine_chunks()
        offsets = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=len(ids)))]).astype(np.int32)
        lists = [
            pa.ListArray.from_arrays(pa.array(offsets), rows[column].combine_chunks())
            for column in rows.column_names
        ]
        fields = [pa.field(column, one.type) for column, one in zip(rows.column_names, lists, strict=True)]
        objects = objects.append_column(name, pa.StructArray.from_arrays(lists, fields=fields))
    return objects


def write_cells(
    folder: Path, objects: Sequence[Path], sources: Sequence[Path], forced_sources: Sequence[Path]
) -> list[Path]:
    """Write the latest version of each DiaObject with its light curves, one file for each cell of the sky.

    Memory holds the ids and positions of all objects and the rows of one cell. Every input file is read once.

    Parameters
    ----------
    folder
        Folder for the cells; empty.
    objects, sources, forced_sources
        Files of these tables. An object may have several versions.

    Returns
    -------
    cells
        Files of objects with the columns ``diaSource`` and ``diaForcedSource``.
    """
    latest = _latest(objects)
    if latest is None:
        return []
    cell_of = _cells(latest["ra"].to_numpy(), latest["dec"].to_numpy())
    ids = latest[_ID].to_numpy()
    starts = latest[_START].to_numpy()
    tables = (
        ("objects", objects, None),
        ("sources", sources, (_ID, *SOURCE_COLUMNS)),
        ("forced", forced_sources, (_ID, *FORCED_COLUMNS)),
    )
    for name, paths, columns in tables:
        for number, batch in enumerate(_batches(paths, columns)):
            place = _place(ids, np.arange(len(ids)), batch[_ID])
            keep = place >= 0
            if name == "objects":
                keep &= starts[place] == batch[_START].to_numpy()
            _split(folder, f"{name}-{number:06d}", batch.filter(pa.array(keep)), cell_of[place[keep]])
    written = []
    for cell in sorted(path for path in folder.iterdir() if path.is_dir()):
        parts = {name: _whole(cell, name) for name, _, _ in tables}
        found = parts.pop("objects")
        assert found is not None, "a cell exists because an object is in it"
        # A version may be archived twice, by exports of two nights.
        found = found.take(pa.array(np.unique(found[_ID].to_numpy(), return_index=True)[1]))
        curves = {
            column: rows if rows is not None else _empty(paths, columns)
            for (column, rows), (paths, columns) in zip(
                (("diaSource", parts["sources"]), ("diaForcedSource", parts["forced"])),
                ((sources, (_ID, *SOURCE_COLUMNS)), (forced_sources, (_ID, *FORCED_COLUMNS))),
                strict=True,
            )
            if rows is not None or paths
        }
        path = folder / f"{cell.name}.parquet"
        pq.write_table(nested(found, **curves), path, compression="zstd")
        written.append(path)
    return written


def _latest(paths: Sequence[Path]) -> pd.DataFrame | None:
    """Return id, position and begin of the latest version of each object, in the order of ids."""
    table = read_columns(paths, [_ID, _START, "ra", "dec"])
    if table is None:
        return None
    frame = table.to_pandas()
    return frame.sort_values([_ID, _START]).drop_duplicates(_ID, keep="last").reset_index(drop=True)


def _cells(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the HEALPix cells of positions (degrees), of an order at which none has too many objects."""
    for order in range(_FINEST_ORDER + 1):
        sky = HEALPix(nside=2**order, order="nested")
        cells = np.asarray(sky.lonlat_to_healpix(ra * u.deg, dec * u.deg), np.int64)
        if np.unique(cells, return_counts=True)[1].max() <= _ROWS_OF_CELL:
            break
    return cells


def _place(ids: NDArray[np.int64], order: NDArray[np.int64], wanted: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the row of each wanted id among ids that ``order`` sorts; -1 for nulls and absent ones."""
    values = pc.fill_null(wanted, -1).to_numpy()
    found = np.searchsorted(ids[order], values)
    row = order[np.minimum(found, len(ids) - 1)]
    return np.where(ids[row] == values, row, -1)


def _batches(paths: Iterable[Path], columns: tuple[str, ...] | None) -> Iterator[pa.Table]:
    for path in paths:
        with pq.ParquetFile(path) as file:
            names = None if columns is None else _present(file, columns)
            for batch in file.iter_batches(_BATCH, columns=names):
                yield pa.Table.from_batches([batch])


def _present(file: pq.ParquetFile, columns: tuple[str, ...]) -> list[str]:
    # APDBs of other versions of the schema lack some.
    there = set(file.schema_arrow.names)
    return [name for name in columns if name in there]


def _split(folder: Path, name: str, rows: pa.Table, cells: NDArray[np.int64]) -> None:
    for cell in np.unique(cells):
        place = folder / f"{cell:07d}"
        place.mkdir(exist_ok=True)
        pq.write_table(rows.filter(pa.array(cells == cell)), place / f"{name}.parquet")


def _whole(cell: Path, name: str) -> pa.Table | None:
    paths = sorted(cell.glob(f"{name}-*.parquet"))
    tables = [pq.ParquetFile(path).read() for path in paths]
    for path in paths:
        path.unlink()
    return pa.concat_tables(tables, promote_options="default") if tables else None


def _empty(paths: Sequence[Path], columns: tuple[str, ...]) -> pa.Table:
    with pq.ParquetFile(paths[0]) as file:
        return file.schema_arrow.empty_table().select(_present(file, columns))
