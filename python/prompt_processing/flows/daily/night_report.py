"""The flow that writes the report of a night."""

from __future__ import annotations

from pathlib import Path

from ..flow import flow
from ..run import FlowRun


@flow
def night_report(
    run: FlowRun,
    *,
    night: str,
    database: str,
    output: Path,
    instrument: str = "",
    apdb: str = "",
    alerts: Path | None = None,
    transients: int = 12,
    notebook: Path | None = None,
) -> None:
    """Write the report of a night as one HTML page without external requests.

    Parameters
    ----------
    run
        The run of the flow.
    night
        Observing day, YYYY-MM-DD.
    database
        Database of nights: URL or SQLite file.
    output
        Page to write.
    instrument
        Camera; by default all.
    apdb
        Configuration of the APDB, for the sections about sources.
    alerts
        Folder of alerts, for cutouts.
    transients
        Number of brightest transients.
    notebook
        Notebook of your own; by default the package's.
    """
    from prompt_processing.archive.night_report.data import read_night
    from prompt_processing.archive.night_report.page import NOTEBOOK, write_report
    from prompt_processing.archive.night_report.tables import failures, summary

    found = read_night(night, instrument, database, apdb)
    numbers = summary(found).itertuples(index=False)
    run.table(f"Night {night}", [{"what": name, "number": number} for name, number in numbers])
    missed = failures(found).to_dict("records")
    run.table("Not processed", [{str(key): value for key, value in row.items()} for row in missed])
    if run.dry_run:
        run.say(f"{output} would be written.")
        return
    parameters = {
        "night": night,
        "instrument": instrument,
        "database": database,
        "apdb": apdb,
        "alerts": str(alerts or ""),
        "transients": transients,
    }
    title = f"Night {night}" + (f", {instrument}" if instrument else "")
    write_report(output, parameters, title, notebook or NOTEBOOK)
    run.say(f"The report is {output}.")
