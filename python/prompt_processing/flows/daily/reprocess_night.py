"""The flow that processes a night again and compares it with the first processing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prompt_processing.butler.opening import open_repository

from ..flow import flow
from ..run import FlowRun

if TYPE_CHECKING:
    from prompt_processing.reprocessing.night import Execute, Part, PartResult

_SHOWN = 20


@flow
def reprocess_night(
    run: FlowRun,
    *,
    repo: str,
    instrument: str,
    output: str,
    night: str | None = None,
    visits: tuple[int, ...] = (),
    detectors: tuple[int, ...] = (),
    pipelines: tuple[str, ...] = (),
    config: tuple[str, ...] = (),
    first: str | None = None,
    inputs: tuple[str, ...] = (),
    database: str = "",
    namespace: str | None = None,
    first_apdb: str = "",
    compare: bool = True,
    radius: float = 1.0,
) -> None:
    """Process a night again, without alerts, and compare it with the first processing.

    The outputs go into runs of their own, and the sources into an APDB of their own. Visits of the same field
    follow each other, as at night; others are processed at the same time. Repeat the command after a failure:
    it executes the rest.

    Parameters
    ----------
    run
        The run of the flow.
    repo
        Butler repository with the raws.
    instrument
        Camera.
    output
        New chain of the outputs, such as u/me/new-kernel. Its name identifies the processing.
    night
        Observing day, YYYY-MM-DD.
    visits
        Visits; by default all of the night.
    detectors
        Detectors; by default all.
    pipelines
        Pipeline files, the preprocessing first, each optionally with #SUBSET; by default the package's.
    config
        Configuration overrides, TASK:FIELD=VALUE.
    first
        Collection of the first processing; by default <INSTRUMENT>/prompt/output-<NIGHT>, or none without
        comparison.
    inputs
        Further input collections, searched first, such as new templates.
    database
        Database of the new APDB; by default an SQLite file in the folder of --work.
    namespace
        Schema of the new APDB in a PostgreSQL database.
    first_apdb
        Configuration of the night's APDB, to make sure that the new one is another.
    compare
        Compare with the first processing.
    radius
        Largest separation of the same source in both, arcsec.
    """
    from prompt_processing.butler.collections import Collections
    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.reprocessing.errors import ReprocessingError
    from prompt_processing.reprocessing.night import ReprocessingRequest, execute_plan, plan

    from ..errors import FlowError

    if first is None:
        first = Collections(instrument).output_chain(night) if night and compare else ""
    if (night is None and not visits) or (compare and not first):
        raise FlowError(
            "Name the night, or the visits and the collection of their first processing (--first)."
        )
    use_butler_types()
    request = ReprocessingRequest(
        repo,
        instrument,
        first,
        output,
        int(night.replace("-", "")) if night else None,
        visits,
        detectors,
        pipelines,
        config,
        inputs,
    )
    folder = (run.work / output.replace("/", "__")).absolute()
    with open_repository(repo, writeable=not run.dry_run) as butler:
        todo = plan(butler, request, folder)
        run.table(
            "Visits to process, in groups without overlap",
            [
                {"group": number, "visits": len(wave), "first": wave[0].visit, "last": wave[-1].visit}
                for number, wave in enumerate(todo.waves)
            ],
        )
        if run.dry_run:
            run.say(
                f"{len(todo.visits)} visits would be processed into {output}; the APDB would be {todo.apdb}."
            )
            return
        results = execute_plan(
            butler,
            todo,
            _engine(run, request.repo, folder),
            database=database,
            namespace=namespace,
            first_apdb=first_apdb,
        )
        failures = [line for result in results for line in result.failures]
        run.table("Quanta that were not successful", [{"quantum": line} for line in failures[:_SHOWN]])
        run.say(f"{sum(one.successful for one in results)} quanta are successful, {len(failures)} are not.")
        butler.registry.refresh()
        if compare:
            try:
                _compare(
                    run, butler, instrument, request.first, output, todo.visits, detectors, radius, folder
                )
            except ReprocessingError as error:
                if not failures:
                    raise
                # The failures are the cause, and are what to look at.
                run.say(str(error))
    if failures:
        raise FlowError(
            f"{len(failures)} quanta were not successful. Repeat the flow to try them again; "
            "the others are kept."
        )


def _engine(run: FlowRun, repo: str, folder: Path) -> Execute:
    """Return what executes a group of visits with the engine of ``prompt run``."""
    from prompt_processing.batch import run as batch
    from prompt_processing.batch.outcomes import State
    from prompt_processing.batch.request import RunRequest
    from prompt_processing.butler.local.repository import HELD_IN_MEMORY
    from prompt_processing.reprocessing.night import PartResult

    def execute(part: Part) -> PartResult:
        counters = []
        chain = part.run.rpartition("/")[0]
        report = batch.run(
            RunRequest(repo, part.pipeline, part.inputs, chain, part.where, part.config),
            folder / "runs",
            part.run,
            dask=run.place.scheduler,
            processes=run.place.processes,
            cluster=True,
            # As at night: their files have rounded pixels.
            held=HELD_IN_MEMORY,
            on_plan=lambda name, plan: counters.append(run.progress(f"quanta of {name}", plan.n_quanta)),
            on_outcome=lambda outcome: counters[-1](),
        )
        missed = [one for one in report.outcomes if one.state is not State.SUCCESSFUL]
        return PartResult(
            len(report.outcomes) - len(missed),
            tuple(f"{one.label}: {one.reason or one.state}" for one in missed),
        )

    return execute


def _compare(
    run: FlowRun,
    butler: object,
    instrument: str,
    first: str,
    second: str,
    visits: list[int],
    detectors: tuple[int, ...],
    radius: float,
    folder: Path,
) -> None:
    from lsst.daf.butler import Butler

    from prompt_processing.reprocessing.compare_night import compare_night
    from prompt_processing.reprocessing.picture import draw_comparison
    from prompt_processing.reprocessing.report import as_text, write_tables

    assert isinstance(butler, Butler)
    found = compare_night(butler, instrument, first, second, visits, detectors, radius)
    write_tables(folder / "comparison", found)
    text = as_text(found, first, second)
    (folder / "comparison" / "comparison.txt").write_text(text, encoding="utf-8")
    draw_comparison(folder / "comparison" / "comparison.png", found.sources)
    rows = found.sources.by_detector.head(_SHOWN).to_dict("records")
    run.table("Comparison by visit and detector", [{str(k): v for k, v in row.items()} for row in rows])
    run.say(text)
    run.say(f"Tables and a picture are in {folder / 'comparison'}.")
