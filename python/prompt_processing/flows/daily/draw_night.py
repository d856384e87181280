"""The flow that draws the plots of a night."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prompt_processing.butler.opening import open_repository

from ..flow import flow
from ..run import FlowRun

if TYPE_CHECKING:
    from prompt_processing.butler.collections import Collections

_SHOWN = 20


@flow
def draw_night(
    run: FlowRun,
    *,
    repo: str,
    instrument: str,
    night: str,
    output: str = "",
    visits: tuple[int, ...] = (),
    pipeline: str = "",
    config: tuple[str, ...] = (),
    inputs: tuple[str, ...] = (),
    summaries: str = "",
    name: str = "",
) -> None:
    """Draw the plots of a night's visits, and list them for the navigator.

    Repeat the command after a failure: it draws the rest.

    Parameters
    ----------
    run
        The run of the flow.
    repo
        Butler repository with the night's outputs.
    instrument
        Camera.
    night
        Observing day, YYYY-MM-DD.
    output
        Chain of the plots; by default <INSTRUMENT>/plots/<NIGHT>.
    visits
        Visits; by default all of the night.
    pipeline
        Pipeline file, optionally with #TASK,SUBSET; by default the camera's Analysis.yaml.
    config
        Configuration overrides, TASK:FIELD=VALUE.
    inputs
        Further input collections, searched first.
    summaries
        Folder or bucket for the list of the plots; by default none is written.
    name
        Name of the repository in the list; by default the repository itself.
    """
    from prompt_processing.batch import run as batch
    from prompt_processing.batch.request import RunRequest
    from prompt_processing.butler.collections import Collections
    from prompt_processing.butler.pipelines.files import pipelines_folder
    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.repository.plots.summary import write_summary

    from ..errors import FlowError

    use_butler_types()
    collections = Collections(instrument)
    chain = output or collections.plots_chain(night)
    where = f"instrument = '{instrument}'"
    if visits:
        where += f" AND visit IN ({', '.join(map(str, visits))})"
    request = RunRequest(
        repo,
        pipeline or str(pipelines_folder(instrument) / "Analysis.yaml"),
        (*inputs, collections.output_chain(night), *_defaults(repo, collections)),
        chain,
        where,
        config,
    )
    if run.dry_run:
        preview = batch.preview(request, run.work)
        run.table("To draw", [{"task": task, "quanta": count} for task, count in preview.quanta.items()])
        run.say(f"The plots would be written into {preview.run}; {preview.done} quanta are done already.")
        return
    counters: list[Callable[[], None]] = []
    report = batch.run(
        request,
        run.work,
        dask=run.place.scheduler,
        processes=run.place.processes,
        on_plan=lambda label, plan: counters.append(run.progress(f"quanta of {label}", plan.n_quanta)),
        on_outcome=lambda outcome: counters[-1](),
    )
    missed = [one for one in report.outcomes if one.reason]
    run.table(
        "Quanta that were not successful",
        [{"quantum": one.label, "reason": one.reason} for one in missed[:_SHOWN]],
    )
    run.say(f"The plots are in {report.run}.")
    if summaries:
        with open_repository(repo) as butler:
            path, n_plots = write_summary(butler, name or repo, chain, summaries)
        run.say(f"{n_plots} plots of {chain} are listed in {path.ospath if path.isLocal else path}.")
    if not report.complete:
        raise FlowError(
            f"{len(missed)} quanta were not successful. Repeat the flow to try them again; "
            "the others are kept."
        )


def _defaults(repo: str, collections: Collections) -> tuple[str, ...]:
    """Return the inputs of all pipelines, or what a repository of outputs has of them."""
    wanted = (collections.unbounded_calib, collections.skymaps, collections.refcats)
    with open_repository(repo) as butler:
        known = set(butler.collections.query("*"))
    if collections.defaults in known:
        return (collections.defaults,)
    return tuple(name for name in wanted if name in known)
