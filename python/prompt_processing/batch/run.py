"""Run a pipeline over a repository: plan it, execute it, and enter the outputs."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lsst.daf.butler import Butler

from prompt_processing.butler.opening import open_repository

from .datasets import stored_quanta
from .execution import connect, run_here, run_on_dask
from .graph import build_graph, has_collection, prepare_run, read_graph, register_outputs
from .outcomes import QuantumOutcome, append_outcomes, read_outcomes
from .plan import Plan, plan_groups, run_context
from .report import RunReport, report_run
from .request import RunRequest, WorkFolder
from .transfer import prepend_to_chain, transfer_outputs

if TYPE_CHECKING:
    from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

__all__ = ["Preview", "preview", "report", "run"]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do.

    Attributes
    ----------
    quanta
        Number of quanta that are left, by task.
    done
        Number of quanta that are successful already.
    """

    run: str
    quanta: dict[str, int]
    done: int


def preview(request: RunRequest, work: Path, output_run: str = "") -> Preview:
    """Return what a run would do, without writing to the repository.

    Raises
    ------
    BatchError
        Raised if the request cannot be carried out.
    """
    import tempfile

    folder, known = WorkFolder.choose(work, request, output_run)
    with open_repository(request.repo) as butler, tempfile.TemporaryDirectory() as scratch:
        if known and folder.graph.exists():
            graph = read_graph(folder.graph)
        else:
            graph = build_graph(butler, request, folder.run, Path(scratch) / "graph.qg")
        done = stored_quanta(request.repo, butler, graph, folder.run) if known else set()
    nodes = graph.quantum_only_xgraph.nodes
    counts = Counter(nodes[one]["task_label"] for one in graph if one not in done)
    tasks = {label: counts[label] for label in graph.pipeline_graph.tasks if counts[label]}
    return Preview(folder.run, tasks, len(done))


def run(
    request: RunRequest,
    work: Path,
    output_run: str = "",
    *,
    dask: str = "",
    processes: int = 1,
    cluster: bool = False,
    held: Sequence[str] = (),
    on_plan: Callable[[str, Plan], None] = lambda run, plan: None,
    on_outcome: Callable[[QuantumOutcome], None] = lambda outcome: None,
) -> RunReport:
    """Execute what is left of a run, and enter its outputs in the repository.

    Parameters
    ----------
    request
        What to run.
    work
        Parent of the folders of runs.
    output_run
        Output run; by default the unfinished run of the same request, or a new one below its output chain.
    dask
        Address of a Dask scheduler.
    processes
        Without a scheduler, number of processes of this machine; 1 is this process.
    cluster
        Whether one process executes all quanta of a detector that depend on each other.
    held
        Names of dataset types that are passed on in memory, besides being written, from quantum to quantum of
        a detector; useful with ``cluster``. Tasks then get images without the rounding of their files.
    on_plan
        Called with the name of the run and its plan, before anything is executed.
    on_outcome
        Called with each outcome.

    Returns
    -------
    report
        States of all quanta, those of earlier executions included.

    Raises
    ------
    BatchError
        Raised if the request cannot be carried out, or if the scheduler is lost.
    """
    folder, known = WorkFolder.choose(work, request, output_run)
    with (
        _connection(dask, processes) as execute,
        folder.lock(),
        Butler.from_config(request.repo, writeable=True) as butler,
    ):
        new = not known and not has_collection(butler, folder.run)
        graph = _graph(butler, request, folder, known)
        done = stored_quanta(request.repo, butler, graph, folder.run)
        plan = plan_groups(graph, done, cluster, held)
        on_plan(folder.run, plan)
        try:
            if plan.n_quanta:
                for outcomes in execute(run_context(request.repo, graph, new, held), plan):
                    append_outcomes(folder.outcomes, outcomes)
                    for outcome in outcomes:
                        on_outcome(outcome)
        finally:
            # Also after an interruption: what exists counts.
            transfer_outputs(request.repo, butler, graph, folder.run)
            prepend_to_chain(butler, request, folder.run)
        result = report_run(request.repo, butler, graph, folder.run, read_outcomes(folder.outcomes))
        if result.complete:
            folder.mark_complete()
        return result


def report(work: Path, run_name: str = "") -> RunReport:
    """Return the states of all quanta of a run, without executing or writing anything.

    Parameters
    ----------
    work
        Parent of the folders of runs.
    run_name
        Output run; by default the one that was begun last.

    Raises
    ------
    BatchError
        Raised if there is no such run.
    """
    folder = WorkFolder.of_run(work, run_name) if run_name else WorkFolder.latest(work)
    request = folder.request()
    with open_repository(request.repo) as butler:
        graph = read_graph(folder.graph)
        return report_run(request.repo, butler, graph, folder.run, read_outcomes(folder.outcomes))


def _graph(butler: Butler, request: RunRequest, folder: WorkFolder, known: bool) -> PredictedQuantumGraph:
    if known and folder.graph.exists():
        graph = read_graph(folder.graph)
    else:
        folder.path.mkdir(parents=True, exist_ok=True)
        register_outputs(butler, request)
        graph = build_graph(butler, request, folder.run, folder.graph)
        folder.remember(request)
    graph.pipeline_graph.register_dataset_types(butler)
    prepare_run(butler, graph, folder.run)
    return graph


@contextlib.contextmanager
def _connection(dask: str, processes: int) -> Iterator[Callable[..., Iterator[list[QuantumOutcome]]]]:
    """Return the function that executes a plan."""
    if not dask and processes == 1:
        yield run_here
        return
    with connect(dask, processes) as client:
        yield lambda context, plan: run_on_dask(context, plan, client)
