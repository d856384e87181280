"""The flow that runs the flows of the day on the night that the demo kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompt_processing.domain import night_folder

from ..errors import FlowError
from ..flow import flow
from ..run import FlowRun
from .demo_night import DemoNight, find_demo_night, in_environment

_FEWEST_VISITS = 3
"""Visits of a patch from which templates are made, if the night has as many."""

_FINE = 9
"""Order of the cells: 7 arcmin, since the demo has one field."""


@dataclass(frozen=True, slots=True)
class Part:
    """A flow of the day.

    Attributes
    ----------
    parameters
        Those of the flow.
    needs_services
        Whether it reads the central repository, which is gone when the demo has stopped.
    """

    parameters: Mapping[str, Any]
    needs_services: bool = False


@flow
def dawn(run: FlowRun, *, demo: Path, to: Path | None = None) -> None:
    """Run the flows of the day on the night that ``prompt demo --keep`` left.

    Each part is a flow of its own. If one fails, the others run all the same. Parts that need the demo's
    services are left out if it has stopped.

    Parameters
    ----------
    run
        The run of the flow.
    demo
        Output folder of the demo.
    to
        Folder of archive, plots and pages; by default the folder dawn in that of the demo.
    """
    from .values import timestamp

    night = find_demo_night(demo)
    # A processing belongs to the folder that has its APDB: each dawn has its own.
    again = f"u/dawn/{run.remember('again', timestamp)}"
    folder = (to or night.folder / "dawn").absolute()
    if not run.dry_run:
        folder.mkdir(parents=True, exist_ok=True)
    stopped = night.stopped_service()
    rows = []
    with in_environment(night.environment()):
        for name, part in _parts(night, folder, again).items():
            run.say(f"{name}:")
            began = time.monotonic()
            if part.needs_services and stopped:
                outcome, reason = "left out", f"the demo's {stopped} has stopped"
            else:
                reason = _error_of(_run_part, run, night, name, part)
                outcome = "failed" if reason else "done"
            seconds = round(time.monotonic() - began, 1)
            rows.append({"flow": name, "outcome": outcome, "seconds": seconds, "reason": reason})
    run.table("Flows", rows)
    if not run.dry_run:
        from .dawn_page import write_dawn_page

        page = folder / "index.html"
        n_gaps = sum(len(table.rows) for table in run.tables if table.title == "Gaps")
        write_dawn_page(page, night, rows, _comparison(run, again), n_gaps)
        run.say(f"Look at {page}.")
    if failed := [str(row["flow"]) for row in rows if row["outcome"] == "failed"]:
        raise FlowError(f"{', '.join(failed)} failed; the table has the reasons")


def _run_part(run: FlowRun, night: DemoNight, name: str, part: Part) -> None:
    from ..engine import execute
    from ..flow import load_flow

    if name == "reprocess-night" and not run.dry_run:
        _import_raws(night)
    execute(
        load_flow(name),
        part.parameters,
        work=run.work,
        place=run.wanted_place,
        reporter=run.reporter,
        dry_run=run.dry_run,
        tables=run.tables,
    )


def _error_of(function: Callable[..., None], *arguments: Any) -> str:
    """Call a function, and return its error; empty if there is none."""
    from prompt_processing.domain.errors import PromptError, RepositoryProblemError

    try:
        function(*arguments)
    except (FlowError, PromptError, RepositoryProblemError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a part may fail in any way, and the others run all the same
        return f"{type(error).__name__}: {error}"
    return ""


def _parts(night: DemoNight, folder: Path, again: str) -> dict[str, Part]:
    """Return the flows, in their order; ``again`` is the chain of the second processing."""
    central = night.environment().get("CENTRAL_REPO", "")
    instrument = night.instrument
    return {
        # The demo has ended: what is missing is not on its way.
        "catch-up": Part({"night": night.reported, "patience": 0.0, **_processed_by(night)}, True),
        "export-night": Part(
            {
                "night": night.observed,
                "to": folder / "archive",
                "apdb": night.apdb,
                "instrument": instrument,
                "alerts": (str(night.alerts),),
            }
        ),
        "draw-night": Part(
            {
                "repo": str(night.repository),
                "instrument": instrument,
                "night": night.night,
                "summaries": str(folder),
            }
        ),
        "reprocess-night": Part(
            {
                "repo": central,
                "instrument": instrument,
                "night": night.observed,
                "output": again,
                "first": night.chain,
                "first_apdb": night.apdb,
            },
            True,
        ),
        "build-templates": Part(
            {
                "repo": central,
                "instrument": instrument,
                "collections": (night.chain,),
                "least": min(_FEWEST_VISITS, night.n_visits),
                "publish": False,
                "page": folder / "templates.html",
            },
            True,
        ),
        "night-cube": Part(
            {
                "night": night.reported,
                "database": night.database,
                "to": folder / "cube",
                "instrument": instrument,
                "apdb": night.apdb,
                "order": _FINE,
            }
        ),
        "night-report": Part(
            {
                "night": night.reported,
                "database": night.database,
                "output": folder / "report.html",
                "instrument": instrument,
                "apdb": night.apdb,
                "alerts": night.alerts,
            }
        ),
    }


def _processed_by(night: DemoNight) -> dict[str, Any]:
    """Return where the outcomes are, and which detectors the night has."""
    from prompt_processing.nights.reading import Nights

    with Nights(night.database) as nights:
        day = int(night.reported.replace("-", ""))
        visits = nights.visits(day, 1).rows
        found = nights.detectors(visits[0].group, instrument=night.instrument, limit=500) if visits else ()
    outcomes = night.folder / night_folder.OUTCOMES
    detectors = tuple(sorted({one.detector for one in found}))
    return {"detectors": detectors} | ({"outcomes": outcomes} if outcomes.is_dir() else {})


def _import_raws(night: DemoNight) -> None:
    """Copy the night's raws from the bucket into the central repository."""
    from prompt_processing.butler.opening import open_repository
    from prompt_processing.repository.raws import find_raws, import_raws

    environment = night.environment()
    bucket = f"s3://{environment['IMAGE_BUCKET']}/{night.instrument}/"
    with open_repository(environment["CENTRAL_REPO"], writeable=True) as butler:
        import_raws(butler, find_raws([bucket]))


def _comparison(run: FlowRun, again: str) -> Path:
    """Return the folder of the comparison with the second processing."""
    return run.work / "reprocess-night" / again.replace("/", "__") / "comparison"
