"""Copy the rows of a night from the APDB to Parquet files, only those that are new."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from lsst.dax.apdb.apdbSchema import ApdbTables

from .apdb_rows import ApdbRows, VisitDetector
from .errors import ArchiveError
from .manifest import ArchivedFile, NightManifest, Problem, WrittenVisit
from .nights import NightInterval
from .parquet import arrow_schema, read_columns, write_parquet

__all__ = ["NightTables", "differences", "export_tables", "table_files"]


class NightTables:
    """The tables of one night in an archive.

    Parameters
    ----------
    root
        Folder of the archive.
    rows
        Rows of the APDB.
    night
        The night.
    """

    def __init__(self, root: Path, rows: ApdbRows, night: NightInterval) -> None:
        self.root = root
        self.rows = rows
        self.night = night

    def new_visits(self, manifest: NightManifest) -> dict[VisitDetector, tuple[int, int]]:
        """Return the visit-detectors that the archive lacks, with their numbers of rows."""
        known = {(one.visit, one.detector) for one in manifest.visits}
        return {key: counts for key, counts in self.rows.visits(self.night).items() if key not in known}


def export_tables(
    tables: NightTables,
    manifest: NightManifest,
    report: Callable[[str, int], None] = lambda table, rows: None,
) -> NightManifest:
    """Copy what is new in a night to Parquet files.

    A visit-detector enters the APDB once, in one transaction. Therefore those that the manifest does not list
    are exactly the new rows. The current version of each DiaObject that a new row belongs to is copied too.

    Parameters
    ----------
    tables
        The night's tables.
    manifest
        What the archive has already; it is not changed.
    report
        Called with each table and its number of new rows.

    Returns
    -------
    manifest
        With the new files; not yet written to the archive.

    Raises
    ------
    ArchiveError
        Raised if the APDB returns other rows than it counts.
    """
    if manifest.apdb and manifest.apdb != tables.rows.name and manifest.visits:
        raise ArchiveError(
            f"The archive has rows of this night from {manifest.apdb}, and not from {tables.rows.name}. "
            "What to do: name another archive for another APDB."
        )
    new = tables.new_visits(manifest)
    part = manifest.next_part()
    updated = manifest.model_copy(deep=True, update={"apdb": tables.rows.name})
    if not new:
        return updated
    schemas = tables.rows.schemas
    writer = _PartWriter(tables, part, updated, report)
    chosen = list(new)
    sources = writer.write(
        ApdbTables.DiaSource,
        tables.rows.of_visits(ApdbTables.DiaSource, chosen),
        arrow_schema(schemas.dia_source),
    )
    forced = writer.write(
        ApdbTables.DiaForcedSource,
        tables.rows.of_visits(ApdbTables.DiaForcedSource, chosen),
        arrow_schema(schemas.dia_forced_source),
    )
    expected = sum(one for one, _ in new.values()), sum(one for _, one in new.values())
    if (sources, forced) != expected:
        raise ArchiveError(
            f"The APDB counts {expected[0]} DiaSources and {expected[1]} DiaForcedSources in the new visits, "
            f"and returns {sources} and {forced}. Rows of other nights may have the same visit ids: check "
            "midpointMjdTai and --instrument."
        )
    ids = writer.ids("diaObjectId", ApdbTables.DiaSource, ApdbTables.DiaForcedSource)
    writer.write(ApdbTables.DiaObject, tables.rows.current_objects(ids), arrow_schema(schemas.dia_object))
    for kind, column in ((ApdbTables.SSSource, "diaSourceId"), (ApdbTables.SSObject, "ssObjectId")):
        writer.write(kind, tables.rows.solar_system(kind, writer.ids(column, ApdbTables.DiaSource)), None)
    updated.visits += [
        WrittenVisit(visit=visit, detector=detector, sources=one, forced_sources=two, part=part)
        for (visit, detector), (one, two) in new.items()
    ]
    return updated


def differences(manifest: NightManifest, counted: dict[VisitDetector, tuple[int, int]]) -> Iterator[Problem]:
    """Yield the differences between the archived rows of a night and the counts of the APDB."""
    for one in manifest.visits:
        sources, forced = counted.get((one.visit, one.detector), (0, 0))
        if (sources, forced) != (one.sources, one.forced_sources):
            yield Problem(
                f"visit {one.visit}, detector {one.detector}",
                f"{one.sources} DiaSources and {one.forced_sources} DiaForcedSources in the archive, "
                f"{sources} and {forced} in the APDB",
            )
    known = {(one.visit, one.detector) for one in manifest.visits}
    for (visit, detector), (sources, forced) in counted.items():
        if (visit, detector) not in known:
            yield Problem(
                f"visit {visit}, detector {detector}",
                f"{sources} DiaSources and {forced} DiaForcedSources are not yet in the archive",
            )


def table_files(root: Path, all_nights: Sequence[NightManifest], table: str) -> list[Path]:
    """Return the files of a table, of all nights."""
    return [root / file.file for manifest in all_nights for file in manifest.of_table(table)]


class _PartWriter:
    """Writes one file for each table, and lists it in the manifest."""

    def __init__(
        self, tables: NightTables, part: int, manifest: NightManifest, report: Callable[[str, int], None]
    ) -> None:
        self._root = tables.root
        self._part = part
        self._manifest = manifest
        self._report = report
        self._written: dict[ApdbTables, Path] = {}

    def write(self, kind: ApdbTables, frames: Iterator[pd.DataFrame], schema: pa.Schema | None) -> int:
        """Write a table and return the number of its rows."""
        folder = self._root / "tables" / kind.value / f"day_obs={self._manifest.day_obs}"
        path = folder / f"part-{self._part:04d}.parquet"
        rows = write_parquet(path, frames, schema)
        if rows:
            self._manifest.files.append(ArchivedFile.of(self._root, path, kind.value, rows, self._part))
            self._written[kind] = path
        self._report(kind.value, rows)
        return rows

    def ids(self, column: str, *kinds: ApdbTables) -> set[int]:
        """Return the values of a column of the new rows."""
        paths = [self._written[kind] for kind in kinds if kind in self._written]
        table = read_columns(paths, [column])
        return set() if table is None else set(pc.unique(table[column]).drop_null().to_pylist())
