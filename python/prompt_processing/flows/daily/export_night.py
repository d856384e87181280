"""The flow that archives a night."""

from __future__ import annotations

from pathlib import Path

from ..flow import flow
from ..run import FlowRun


@flow
def export_night(
    run: FlowRun,
    *,
    night: str,
    to: Path,
    apdb: str,
    instrument: str = "",
    alerts: tuple[str, ...] = (),
    hats: bool = True,
) -> None:
    """Archive a night of the APDB as Parquet, HATS catalogues and Avro files, and verify it.

    Only what is new is added; damaged files are copied again.

    Parameters
    ----------
    run
        The run of the flow.
    night
        Observing day, YYYY-MM-DD.
    to
        Folder of the archive.
    apdb
        Configuration of the APDB.
    instrument
        Camera, which decides when a day begins; by default at 12:00 TAI, as at Rubin.
    alerts
        Files and folders of alerts.
    hats
        Make the HATS catalogues again if tables have changed.
    """
    from prompt_processing.apdb.preloaded_catalogs import open_apdb
    from prompt_processing.archive.alerts import read_alert_files
    from prompt_processing.archive.export import export_night as export
    from prompt_processing.archive.export import preview_export
    from prompt_processing.archive.nights import NightInterval

    from ..errors import FlowError

    interval = NightInterval.of(night, instrument)
    opened = open_apdb(apdb)
    if run.dry_run:
        found = preview_export(to, interval, opened)
        row = {"sources": found.sources, "forced sources": found.forced_sources, "archived": found.archived}
        run.table("To archive", [{"new visit-detectors": found.visits, **row}])
        return
    report = export(
        to,
        interval,
        opened,
        read_alert_files(map(Path, alerts)) if alerts else None,
        hats=hats,
        dask=run.place.scheduler if hats else "",
        on_step=run.say,
    )
    new = report.new | ({"alerts": report.alerts.new} if report.alerts else {})
    run.table(
        f"Archive of {night}",
        [{"table": name, "new": new.get(name, 0), "archived": rows} for name, rows in report.rows.items()],
    )
    run.table("Repaired files", [{"file": one.what, "reason": one.reason} for one in report.repaired])
    if report.problems:
        raise FlowError("; ".join(map(str, report.problems[:5])) + f" ({len(report.problems)} problems).")
