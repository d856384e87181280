"""A folder of statistics: one Parquet file for each period, with one row group for each tile of the sky."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ArchiveError
from ..manifest import write_whole
from .periods import Period, parents
from .statistics import merged, typed

__all__ = ["Cube"]

_TILE_ORDER = 3
"""Order of the tiles: 768 in the sky, 7 degrees wide."""
_KEY = b"prompt_cube"


@dataclass(frozen=True, slots=True)
class Cube:
    """Statistics of a camera.

    Attributes
    ----------
    root
        Folder; ``<level>/<period>.parquet`` is below it.
    order
        Order of the HEALPix cells, nested.
    """

    root: Path
    order: int

    def __post_init__(self) -> None:
        if self.order < _TILE_ORDER:
            raise ArchiveError(
                f"Cells of order {self.order} are larger than tiles: {_TILE_ORDER} is the least."
            )
        for path in self.root.glob("night/*.parquet"):
            if (found := _notes(path).get("order")) != self.order:
                raise ArchiveError(
                    f"The cube {self.root} has cells of order {found}, not {self.order}: name that order, or "
                    "another folder."
                )
            break

    def path(self, period: Period) -> Path:
        """Return the file of a period."""
        return self.root / period.level / f"{period.name}.parquet"

    def periods(self, level: str) -> list[Period]:
        """Return the periods that there are, in time order."""
        names = [path.stem for path in (self.root / level).glob("*.parquet")]
        return [Period(level, name) for name in sorted(names, key=_in_time)]

    def read(self, period: Period, tiles: Collection[int] | None = None) -> pd.DataFrame:
        """Return the statistics of a period.

        Parameters
        ----------
        tiles
            Nested HEALPix cells of order 3: only these are read; by default all.

        Raises
        ------
        ArchiveError
            Raised if there are none.
        """
        path = self.path(period)
        if not path.is_file():
            raise ArchiveError(f"{path} does not exist: the cube has no {period.level} {period.name}.")
        filters = None if tiles is None else [("tile", "in", sorted(tiles))]
        table = pq.read_table(path, filters=filters, partitioning=None)
        return typed(table.drop_columns(["tile"]).to_pandas())

    def add_night(self, night: str, statistics: pd.DataFrame) -> list[Period]:
        """Write a night, and make the longer periods again that it belongs to, each of the next shorter ones.

        Parameters
        ----------
        night
            ``YYYY-MM-DD``.
        statistics
            See `~.statistics.night_statistics`.

        Returns
        -------
        periods
            Those that were written. A night with the statistics that it had writes nothing, unless a run
            before it was interrupted.
        """
        period = Period("night", night)
        written = []
        if not self.path(period).is_file() or not self.read(period).equals(statistics):
            self._write(period, statistics, {})
            written.append(period)
        for one in parents(period):
            written += self._update(one)
        return written

    def _update(self, period: Period) -> list[Period]:
        """Make a period of those below it if one of these has changed, and then those above it."""
        below = "night" if period.level in ("lunation", "month") else "month"
        parts = [one for one in self.periods(below) if period in parents(one)]
        wanted = {one.name: _digest(self.path(one)) for one in parts}
        written = []
        path = self.path(period)
        if not path.is_file() or _notes(path).get("parts") != wanted:
            self._write(period, merged(map(self.read, parts)), wanted)
            written.append(period)
        for one in parents(period):
            written += self._update(one)
        return written

    def _write(self, period: Period, statistics: pd.DataFrame, parts: dict[str, str]) -> None:
        table = statistics.assign(tile=statistics["cell"] // 4 ** (self.order - _TILE_ORDER))
        table = table.sort_values(["tile", "cell", "band"], ignore_index=True)
        notes = json.dumps({"order": self.order, "tile_order": _TILE_ORDER, "parts": parts}, sort_keys=True)
        schema = pa.Table.from_pandas(table, preserve_index=False).schema
        # A table without rows does not know that bands are texts.
        band = schema.get_field_index("band")
        schema = schema.set(band, pa.field("band", pa.string())).with_metadata({_KEY: notes.encode()})
        path = self.path(period)
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for _, rows in table.groupby("tile", sort=True):
                writer.write_table(pa.Table.from_pandas(rows, schema=schema, preserve_index=False))


def _notes(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((pq.read_schema(path).metadata or {}).get(_KEY, b"{}"))
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _in_time(name: str) -> tuple[str, int]:
    year, _, season = name.partition("-")
    order = {"DJF": 0, "MAM": 1, "JJA": 2, "SON": 3}
    return (year, order[season]) if season in order else (name, 0)
