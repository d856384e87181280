"""Archive a night: its tables, its alerts, and the catalogues of all nights."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lsst.dax.apdb import Apdb

from prompt_processing.alerts.reading import FoundAlert

from .alerts import ALERTS, INDEX, AlertCounts, archive_alerts, without_damaged
from .apdb_rows import ApdbRows
from .errors import ArchiveError
from .manifest import NightManifest, Problem, manifests
from .nights import NightInterval
from .tables import NightTables, differences, export_tables

__all__ = ["ExportPreview", "ExportReport", "check_night", "export_night", "preview_export"]


@dataclass(frozen=True, slots=True)
class ExportPreview:
    """What an export would add.

    Attributes
    ----------
    visits, sources, forced_sources
        Number of new visit-detectors, and of their rows.
    archived
        Number of visit-detectors that the archive has.
    """

    visits: int
    sources: int
    forced_sources: int
    archived: int


@dataclass(slots=True)
class ExportReport:
    """What an export has done.

    Attributes
    ----------
    day_obs
        ``YYYYMMDD``.
    new
        Number of new rows by table.
    rows
        Number of rows by table, with those of earlier exports.
    alerts
        Numbers of alerts; `None` if none were asked for.
    catalogues
        Number of rows by HATS catalogue; empty if they were left alone.
    repaired
        Damaged files that were replaced.
    problems
        What is still wrong; empty for a complete archive.
    """

    day_obs: int
    new: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    alerts: AlertCounts | None = None
    catalogues: dict[str, int] = field(default_factory=dict)
    repaired: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def export_night(
    root: Path,
    night: NightInterval,
    apdb: Apdb,
    alerts: Iterable[FoundAlert] | None = None,
    *,
    hats: bool = True,
    dask: str = "",
    on_step: Callable[[str], None] = lambda step: None,
) -> ExportReport:
    """Add to an archive what is new in a night, and check the whole night.

    Parameters
    ----------
    root
        Folder of the archive; it is created.
    night
        The night.
    apdb
        APDB in an SQL database.
    alerts
        Alerts to archive; those of other nights and those that are archived are left out.
    hats
        Whether to make the HATS catalogues again if tables have changed.
    dask
        Address of a Dask scheduler that makes the catalogues.
    on_step
        Called with each step, before it begins.

    Returns
    -------
    report
        What was done, and what is still wrong.

    Raises
    ------
    ArchiveError
        Raised if the archive is in use or cannot be extended.
    OSError
        Raised if a file cannot be written.
    """
    root.mkdir(parents=True, exist_ok=True)
    report = ExportReport(night.day_obs)
    rows = ApdbRows(apdb)
    with _locked(root):
        on_step("Checking what the archive has")
        manifest = _repaired(root, NightManifest.read(root, night.day_obs), rows, night, report)
        on_step("Copying new rows of the APDB")
        manifest = export_tables(NightTables(root, rows, night), manifest, report.new.__setitem__)
        manifest.write(root)
        if alerts is not None:
            on_step("Copying new alerts")
            manifest, report.alerts = archive_alerts(root, night, manifest, alerts)
            manifest.write(root)
        every = list(manifests(root))
        if hats and manifest.of_table("DiaSource"):
            from .hats_catalogues import build_catalogues, is_current

            if not is_current(root, every):
                on_step("Making HATS catalogues")
                report.catalogues = build_catalogues(root, every, dask)
        for problem in report.repaired:
            if problem.what not in {file.file for file in manifest.files}:
                (root / problem.what).unlink(missing_ok=True)
        report.rows = manifest.rows()
        report.problems = [*manifest.damaged(root).values(), *differences(manifest, rows.visits(night))]
    return report


def preview_export(root: Path, night: NightInterval, apdb: Apdb) -> ExportPreview:
    """Return what an export would add, without writing anything."""
    manifest = NightManifest.read(root, night.day_obs)
    new = NightTables(root, ApdbRows(apdb), night).new_visits(manifest)
    sources = sum(one for one, _ in new.values())
    forced = sum(one for _, one in new.values())
    return ExportPreview(len(new), sources, forced, len(manifest.visits))


def check_night(root: Path, night: NightInterval, apdb: Apdb | None = None) -> list[Problem]:
    """Return what is wrong with the archive of a night.

    Parameters
    ----------
    root
        Folder of the archive.
    night
        The night.
    apdb
        APDB whose counts are compared, too.

    Raises
    ------
    ArchiveError
        Raised if the manifest is damaged.
    """
    manifest = NightManifest.read(root, night.day_obs)
    if not manifest.files:
        return [Problem(str(night.day_obs), f"{root} has nothing of this night")]
    problems = list(manifest.damaged(root).values())
    if apdb is not None:
        problems += differences(manifest, ApdbRows(apdb).visits(night))
    return problems


def _repaired(
    root: Path, manifest: NightManifest, rows: ApdbRows, night: NightInterval, report: ExportReport
) -> NightManifest:
    """Return a manifest without damaged files, if the APDB still has their rows."""
    damaged = manifest.damaged(root)
    if not damaged:
        return manifest
    report.repaired = list(damaged.values())
    of_alerts = {one.file for one in manifest.files if one.table in (ALERTS, INDEX) and one.file in damaged}
    parts = {one.part for one in manifest.files if one.file in damaged and one.file not in of_alerts}
    counted = rows.visits(night)
    for visit in manifest.visits:
        if visit.part in parts and counted.get((visit.visit, visit.detector)) != (
            visit.sources,
            visit.forced_sources,
        ):
            raise ArchiveError(
                f"{next(iter(damaged.values()))}. The APDB no longer has the same rows: restore the file "
                "from a copy of the archive."
            )
    manifest = manifest.without_parts(parts)
    return without_damaged(root, manifest, of_alerts) if of_alerts else manifest


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    with (root / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveError(f"Another process is exporting into {root}; wait for its end.") from None
        yield
