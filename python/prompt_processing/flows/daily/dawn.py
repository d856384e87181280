"""The flow that runs the flows of the day on the night that the demo kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prompt_processing.butler.opening import open_repository

from ..errors import FlowError
from ..flow import flow
from ..run import FlowRun


@flow
def dawn(run: FlowRun, *, demo: Path, to: Path | None = None) -> None:
    """Archive, draw and report the night that ``prompt demo --keep`` left.

    Each part is a flow of its own. If one fails, the others run all the same.

    Parameters
    ----------
    run
        The run of the flow.
    demo
        Output folder of the demo.
    to
        Folder of archive, plots and report; by default the folder dawn in that of the demo.
    """
    from prompt_processing.batch.errors import BatchError
    from prompt_processing.domain.errors import PromptError, RepositoryProblemError

    from ..engine import execute
    from ..flow import load_flow

    folder = (to or demo / "dawn").absolute()
    if not run.dry_run:
        folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, parameters in _parts(demo.absolute(), folder).items():
        run.say(f"{name}:")
        error = ""
        try:
            execute(
                load_flow(name),
                parameters,
                work=run.work,
                place=run.wanted_place,
                reporter=run.reporter,
                dry_run=run.dry_run,
                tables=run.tables,
            )
        except (BatchError, FlowError, PromptError, RepositoryProblemError) as failure:
            error = str(failure)
        rows.append({"flow": name, "done": not error, "error": error})
    run.table("Flows", rows)
    if failed := [str(row["flow"]) for row in rows if row["error"]]:
        raise FlowError(f"{', '.join(failed)} failed; the table has the reasons")
    if not run.dry_run:
        run.say(f"Look at {folder / 'report.html'}.")


def _parts(demo: Path, folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the parameters of each flow."""
    repo = demo / "repository"
    instrument, processed = _processed_night(repo)
    apdb = str(demo / "work" / "apdb.yaml")
    return {
        "export-night": {
            "night": processed,
            "to": folder / "archive",
            "apdb": apdb,
            "instrument": instrument,
            "alerts": (str(demo / "alerts"),),
        },
        "draw-night": {
            "repo": str(repo),
            "instrument": instrument,
            "night": processed,
            "summaries": str(folder),
        },
        "night-report": {
            "night": _reported_night(demo / "night.db"),
            "database": str(demo / "night.db"),
            "output": folder / "report.html",
            "instrument": instrument,
            "apdb": apdb,
            "alerts": demo / "alerts",
        },
    }


def _processed_night(repo: Path) -> tuple[str, str]:
    """Return the instrument and the last night of a repository's outputs."""
    from lsst.daf.butler import CollectionType  # type: ignore[attr-defined]

    from prompt_processing.butler.collections import Collections
    from prompt_processing.butler.types import use_butler_types

    use_butler_types()
    if not repo.is_dir():
        raise FlowError(f"{repo.parent} is no night of the demo: run  prompt demo --keep  first")
    with open_repository(str(repo)) as butler:
        chains = butler.collections.query(
            Collections("*").output_chain("*"), collection_types={CollectionType.CHAINED}
        )
    if not chains:
        raise FlowError(f"{repo} has no outputs of a night")
    instrument, _, rest = max(chains, key=lambda name: name[-len("2026-11-28") :]).partition("/")
    return instrument, rest[-len("2026-11-28") :]


def _reported_night(database: Path) -> str:
    """Return the last night in the database of outcomes."""
    from prompt_processing.nights.reading import Nights, NightsUnavailableError

    try:
        found = Nights(str(database)).nights(1).rows if database.is_file() else ()
    except NightsUnavailableError as error:
        raise FlowError(f"{database} cannot be read: {error}") from error
    if not found:
        raise FlowError(f"{database} has no night: run  prompt demo --keep  first")
    text = str(found[0].night)
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"
