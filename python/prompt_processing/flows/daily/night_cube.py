"""The flow that adds a night to the statistics of the sky."""

from __future__ import annotations

from pathlib import Path

from ..flow import flow
from ..run import FlowRun

_LINES = ("visits", "images", "failed", "sources", "doubtful")


@flow
def night_cube(
    run: FlowRun,
    *,
    night: str,
    database: str,
    to: Path,
    instrument: str,
    apdb: str = "",
    order: int = 6,
    draw: bool = True,
) -> None:
    """Add a night to the statistics by cell of the sky and band, and draw maps and trends.

    Visits, seeing, depth, DiaSources and spurious rate are kept as sums. Lunations and months are made of the
    nights' sums, seasons and years of the months': only periods of which a part has changed are made again.

    Parameters
    ----------
    run
        The run of the flow.
    night
        Observing day, YYYY-MM-DD.
    database
        Database of nights: URL or SQLite file.
    to
        Folder of the statistics of all cameras.
    instrument
        Camera.
    apdb
        Configuration of the APDB, for the DiaSources; without it there are none.
    order
        Order of the HEALPix cells: 6 for 55 arcmin, 7 for 27 arcmin.
    draw
        Draw maps of the periods that the night belongs to, and trends.
    """
    from prompt_processing.archive.cube.periods import Period
    from prompt_processing.archive.cube.statistics import night_statistics
    from prompt_processing.archive.cube.store import Cube
    from prompt_processing.archive.night_report.data import read_night

    cube = Cube(to / instrument, order)
    found = read_night(night, instrument, database, apdb, transients=0)
    statistics = night_statistics(instrument, found.detectors, found.sources, order)
    rows = statistics.groupby("band")[list(_LINES)].sum()
    cells = statistics.groupby("band").size()
    run.table(
        f"Night {night}",
        [
            {"band": band, "cells": int(cells[band]), **{name: int(row[name]) for name in _LINES[1:]}}
            for band, row in zip(map(str, rows.index), rows.to_dict("records"), strict=True)
        ],
    )
    if run.dry_run:
        run.say(f"{cube.path(Period('night', night))} and the periods of the night would be written.")
        return
    written = cube.add_night(night, statistics)
    run.table("Periods that were written", [{"level": one.level, "period": one.name} for one in written])
    if draw:
        from prompt_processing.archive.cube.drawing import draw_cube

        run.say(f"Maps and trends are in {draw_cube(cube, night, instrument)}.")
