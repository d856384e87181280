"""``prompt run``: execute a pipeline over a repository, and report on it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .command import Command, option
from .options import log_to_stderr, use_one_blas_thread

if TYPE_CHECKING:
    from prompt_processing.batch.outcomes import QuantumOutcome
    from prompt_processing.batch.plan import Plan
    from prompt_processing.batch.report import RunReport

_WORK = click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("prompt-runs"),
    show_default=True,
    help="Folder that remembers runs: graph and outcomes of each.",
)
_STATUSES = {1: "quanta were not successful, or the run could not start", 130: "interrupted; repeat to go on"}
_SHOWN = 20


def name_of_default() -> str:
    """Return the command that ``prompt run`` stands for."""
    return "pipeline"


@click.command(
    cls=Command,
    examples="""
    prompt run -p ApPipe.yaml -b repo -i LSSTCam/defaults -o u/me/test -d "visit = 12" --dry-run
    prompt run -p ApPipe.yaml -b repo -i LSSTCam/defaults -o u/me/test -d "visit = 12" -j 4
    prompt run pipeline -p ApPipe.yaml -b repo -i LSSTCam/defaults -o u/me/test --dask tcp://dask:8786
    """,
    statuses=_STATUSES,
)
@option("-p", "--pipeline", required=True, metavar="FILE[#SUBSET]", help="Pipeline.", section="What to run")
@option("-b", "--butler", "repo", required=True, help="Butler repository.", section="What to run")
@option(
    "-i", "--input", "inputs", required=True, metavar="COLLECTION,...", help="Inputs.", section="What to run"
)
@option("-d", "--data-query", "where", default="", help="Query that selects data.", section="What to run")
@option(
    "-c",
    "--config",
    multiple=True,
    metavar="TASK:FIELD=VALUE",
    help="Configuration override; repeatable.",
    section="What to run",
)
@option(
    "-o",
    "--output",
    default="",
    metavar="CHAIN",
    help="Chain that gets the run, named after the time, as its first member. An unfinished run of the same "
    "request is continued.",
    section="Where outputs go",
)
@option("--output-run", default="", metavar="RUN", help="Run, by name.", section="Where outputs go")
@option("--dask", default="", metavar="ADDRESS", help="Dask scheduler.", section="Where it runs")
@option(
    "-j",
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Without a scheduler: processes on this machine.",
    section="Where it runs",
)
@option(
    "--cluster",
    is_flag=True,
    help="One process executes all quanta of a detector that depend on each other.",
    section="Where it runs",
)
@option("--dry-run", is_flag=True, help="List what would be executed, and write nothing.")
@_WORK
def pipeline(
    pipeline: str,
    repo: str,
    inputs: str,
    where: str,
    config: tuple[str, ...],
    output: str,
    output_run: str,
    dask: str,
    processes: int,
    cluster: bool,
    dry_run: bool,
    work: Path,
) -> int:
    """Execute a pipeline over a repository, or what is left of an earlier execution.

    The outputs are entered in the repository at the end. After an error, a lost machine or an interruption,
    repeat the command: it executes only what is not there yet.
    """
    use_one_blas_thread()
    from prompt_processing.batch import run as batch
    from prompt_processing.batch.errors import BatchError
    from prompt_processing.batch.request import RunRequest
    from prompt_processing.butler.types import use_butler_types

    log_to_stderr()
    # It warns that a packaging tool is missing, which is not needed here.
    logging.getLogger("lsst.utils.packages").setLevel(logging.ERROR)
    use_butler_types()
    chosen = RunRequest(repo, pipeline, tuple(inputs.split(",")), output, where, config)
    try:
        if dry_run:
            _show_preview(batch.preview(chosen, work, output_run))
            return 0
        with _Progress() as progress:
            result = batch.run(
                chosen,
                work,
                output_run,
                dask=dask,
                processes=processes,
                cluster=cluster,
                on_plan=progress.begin,
                on_outcome=progress.count,
            )
    except BatchError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo(
            "Interrupted. What was finished is in the repository: repeat the command to go on.", err=True
        )
        return 130
    _show(result)
    return 0 if result.complete else 1


@click.command(
    cls=Command,
    examples="""
    prompt run report                                          # of the run that was begun last
    prompt run report u/me/test/20261128T104159Z --json
    """,
    statuses={1: "quanta were not successful, or there is no such run"},
)
@click.argument("run", required=False, default="", help="Output run.  [default: the one begun last]")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@_WORK
def report(run: str, as_json: bool, work: Path) -> int:
    """Sort the quanta of a run into successful, failed, blocked and unknown, with the reasons.

    The repository is asked what was successful. Nothing is changed.
    """
    from prompt_processing.batch import run as batch
    from prompt_processing.batch.errors import BatchError
    from prompt_processing.butler.types import use_butler_types

    log_to_stderr()
    use_butler_types()
    try:
        result = batch.report(work, run)
    except BatchError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        rows = [
            {
                "task": one.task,
                "data_id": dict(one.data_id),
                "state": one.state,
                "reason": one.reason,
                "seconds": one.seconds,
            }
            for one in result.outcomes
        ]
        click.echo(json.dumps({"run": result.run, "quanta": rows}, indent=2))
    else:
        _show(result)
    return 0 if result.complete else 1


def _show_preview(found: object) -> None:
    from prompt_processing.batch.run import Preview

    assert isinstance(found, Preview)
    click.echo(
        f"Output run {found.run}; {found.done} quanta are done, {sum(found.quanta.values())} are left:"
    )
    for task, count in found.quanta.items():
        click.echo(f"  {count:7d}  {task}")


def _show(result: RunReport) -> None:
    from rich.console import Console
    from rich.table import Table

    from prompt_processing.batch.outcomes import State

    table = Table(title=f"Run {result.run}", title_justify="left", box=None)
    table.add_column("task")
    for state in State:
        table.add_column(state, justify="right")
    for task, counts in result.counts().items():
        table.add_row(task, *(str(counts[state]) for state in State))
    Console().print(table)
    missed = result.of(State.FAILED, State.UNKNOWN)
    for one in missed[:_SHOWN]:
        click.echo(f"{one.state}: {one.label}: {one.reason}")
    if len(missed) > _SHOWN:
        click.echo(f"... and {len(missed) - _SHOWN} more: prompt run report {result.run} --json lists all")


class _Progress:
    """Bar on a terminal, and one line for each tenth elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("quanta", total=None)
        self._total = self._done = self._missed = 0

    def __enter__(self) -> _Progress:
        self._bar.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def begin(self, run: str, plan: Plan) -> None:
        """Show how much there is to do."""
        self._total = plan.n_quanta
        self._bar.update(self._task, total=self._total, description=run)
        click.echo(f"Run {run}: {self._total} quanta to execute in {len(plan.order)} groups", err=True)

    def count(self, outcome: QuantumOutcome) -> None:
        """Count one quantum."""
        from prompt_processing.batch.outcomes import State

        self._done += 1
        self._bar.advance(self._task)
        if outcome.state is State.FAILED:
            self._missed += 1
            if self._missed <= _SHOWN:
                self._bar.console.print(f"failed: {outcome.label}: {outcome.reason}", markup=False)
        tenth = self._total / 10
        if not self._console.is_terminal and self._done // tenth > (self._done - 1) // tenth:
            click.echo(f"{self._done} of {self._total} quanta, {self._missed} failed", err=True)
