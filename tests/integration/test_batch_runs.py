"""Pipelines over a repository: in one process, in several, on a cluster, and after each of them died."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import batch_pipeline
import pytest
from distributed import Client
from lsst.daf.butler import Butler

from prompt_processing.batch import run as batch
from prompt_processing.batch.errors import BatchError
from prompt_processing.batch.graph import build_graph, prepare_run, register_outputs
from prompt_processing.batch.outcomes import State
from prompt_processing.batch.plan import plan_groups, run_context
from prompt_processing.batch.quanta import run_group
from prompt_processing.batch.request import RunRequest

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_start")]

EXPOSURES, DETECTORS = 3, 4
N_QUANTA = EXPOSURES * (2 * DETECTORS + 1)
TOTALS = [-2 * sum(range(one * DETECTORS, (one + 1) * DETECTORS)) for one in range(EXPOSURES)]


class World:
    """A repository, and where the tasks write that they ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repo = batch_pipeline.make_repository(folder, EXPOSURES, DETECTORS)
        self.pipeline = folder / "arithmetic.yaml"
        self.pipeline.write_text(batch_pipeline.PIPELINE)
        self.journal = folder / "journal"
        self.trouble = folder / "trouble"
        self.work = folder / "work"
        self.environment = {
            **os.environ,
            batch_pipeline.JOURNAL: str(self.journal),
            batch_pipeline.TROUBLE: str(self.trouble),
            # Processes import the tasks of the tests by name.
            "PYTHONPATH": os.pathsep.join([str(Path(batch_pipeline.__file__).parent), *sys.path]),
        }

    @property
    def request(self) -> RunRequest:
        return RunRequest(str(self.repo), str(self.pipeline), ("in",), output="u/test")

    def executed(self) -> Counter[str]:
        """Return how often each task was executed on each number."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return Counter(line.partition(" by ")[0] for line in lines)

    def totals(self, collection: str) -> list[int]:
        with Butler.from_config(str(self.repo), collections=collection) as butler:
            return [butler.get("total", instrument="Cam", exposure=one)["n"] for one in range(EXPOSURES)]

    def files(self, run: str) -> dict[str, bytes]:
        """Return the products of a run, without logs and times."""
        root = self.repo / run
        return {
            str(path.relative_to(root)).replace(run.replace("/", "_"), ""): path.read_bytes()
            for name in ("doubled", "negated", "total")
            for path in sorted((root / name).rglob("*"))
            if path.is_file()
        }

    def command(self, *more: str) -> list[str]:
        return [
            *(
                sys.executable,
                "-m",
                "prompt_processing",
                "run",
                "-p",
                str(self.pipeline),
                "-b",
                str(self.repo),
            ),
            *("-i", "in", "-o", "u/test", "--work", str(self.work)),
            *more,
        ]

    def wait_for_executions(self, number: int) -> None:
        deadline = time.monotonic() + 300
        while self.executed().total() < number:
            assert time.monotonic() < deadline, "nothing is executed"
            time.sleep(0.05)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    for name in (batch_pipeline.JOURNAL, batch_pipeline.TROUBLE, "PYTHONPATH"):
        monkeypatch.setenv(name, made.environment[name])
    return made


def test_one_process_and_several_make_the_same_products(world: World) -> None:
    here = batch.run(world.request, world.work, "u/one")
    there = batch.run(world.request, world.work, "u/two", processes=2, cluster=True)

    assert here.complete
    assert there.complete
    assert len(here.outcomes) == len(there.outcomes) == N_QUANTA
    assert world.files("u/one") == world.files("u/two")
    assert len(world.files("u/one")) == N_QUANTA
    assert world.totals("u/one") == world.totals("u/test") == TOTALS
    with Butler.from_config(str(world.repo)) as butler:
        # Configurations, logs and metadata are in the registry as well.
        assert len(butler.query_datasets("add_log", "u/two")) == EXPOSURES
        assert butler.get("double_config", collections="u/one").seconds == 0.0
        assert butler.collections.get_info("u/test").children == ("u/two", "u/one", "in")


def test_a_graph_does_not_keep_the_quanta_that_were_handed_over(world: World) -> None:
    with Butler.from_config(str(world.repo)) as butler:
        graph = build_graph(butler, world.request, "u/test/run", world.folder / "graph.qg")
    plan = plan_groups(graph, set(), cluster=False)
    assert sum(len(group) for _, group in plan.groups()) == plan.n_quanta == N_QUANTA
    for kept in (graph.quantum_only_xgraph, graph.bipartite_xgraph):
        assert not any("quantum" in kept.nodes[one] for one in graph)


def test_a_quantum_whose_process_died_is_made_again_unless_it_was_complete(world: World) -> None:
    with Butler.from_config(str(world.repo), writeable=True) as butler:
        register_outputs(butler, world.request)
        graph = build_graph(butler, world.request, "u/test/run", world.folder / "graph.qg")
        graph.pipeline_graph.register_dataset_types(butler)
        prepare_run(butler, graph, "u/test/run")
    context = run_context(str(world.repo), graph, new=True)
    _, group = next(plan_groups(graph, set(), cluster=False).groups())
    (once,), (again,) = run_group(context, group), run_group(context, group)
    assert (once.state, once.was_there) == (State.SUCCESSFUL, False)
    assert (again.state, again.was_there) == (State.SUCCESSFUL, True)
    assert world.executed().total() == 1

    # The process died before it wrote the metadata: what it left of the product is replaced.
    run = world.repo / "u" / "test" / "run"
    (metadata,) = (run / "double_metadata").rglob("*.json")
    (product,) = (path for path in (run / "doubled").rglob("*") if path.is_file())
    complete = product.read_bytes()
    metadata.unlink()
    product.write_bytes(b"cut off")
    (last,) = run_group(context, group)
    assert (last.state, last.was_there) == (State.SUCCESSFUL, False)
    assert product.read_bytes() == complete
    assert metadata.exists()


def test_a_failure_blocks_what_follows_and_is_repeated_alone(world: World) -> None:
    world.trouble.write_text("5")

    first = batch.run(world.request, world.work)
    states = Counter((one.task, one.state) for one in first.outcomes)
    assert (
        states["double", State.FAILED] == states["negate", State.BLOCKED] == states["add", State.BLOCKED] == 1
    )
    (failed,) = first.of(State.FAILED)
    assert "ValueError: 5 cannot be doubled" in failed.reason
    assert failed.data_id == {"instrument": "Cam", "exposure": 1, "detector": 1}

    # The reasons are in the repository too, for those who have no record of the run.
    (world.work / first.run.replace("/", "__") / "outcomes.jsonl").unlink()
    (again,) = batch.report(world.work).of(State.FAILED)
    assert "5 cannot be doubled" in again.reason

    world.trouble.unlink()
    second = batch.run(world.request, world.work)
    assert second.run == first.run
    assert second.complete
    assert world.totals(second.run) == TOTALS
    executed = world.executed()
    assert executed["double 5"] == 2
    assert executed.total() == N_QUANTA + 1

    # What is complete is not continued: the same request begins anew.
    assert batch.preview(world.request, world.work).run != second.run


def test_a_killed_command_is_continued_by_the_next(world: World) -> None:
    process = subprocess.Popen(world.command("-c", "double:seconds=0.1"), env=world.environment)
    world.wait_for_executions(5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = world.executed().total()

    result = subprocess.run(
        world.command("-c", "double:seconds=0.1"),
        env=world.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    (run,) = [path.name.replace("__", "/") for path in world.work.iterdir()]
    assert world.totals(run) == TOTALS
    # At most the quantum that the kill interrupted was executed twice.
    assert world.executed().total() <= N_QUANTA + 1
    assert before < N_QUANTA
    report = subprocess.run(
        [sys.executable, "-m", "prompt_processing", "run", "report", "--work", str(world.work)],
        env=world.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 0
    assert "double" in report.stdout


@dataclass(frozen=True)
class Scheduler:
    """A Dask scheduler, as a site runs it."""

    process: subprocess.Popen[bytes]
    address: str


@pytest.fixture
def scheduler(world: World, tmp_path: Path) -> Iterator[Scheduler]:
    address = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    process = subprocess.Popen(
        [*command, "--scheduler-file", str(address)], env=world.environment, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not address.exists() or not address.read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield Scheduler(process, json.loads(address.read_text())["address"])
    finally:
        process.kill()
        process.wait()


def start_worker(world: World, scheduler: Scheduler) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        scheduler.address,
        "--nthreads",
        "1",
        "--no-dashboard",
    ]
    return subprocess.Popen([*command, "--no-nanny"], env=world.environment, stderr=subprocess.DEVNULL)


def wait_for_workers(scheduler: Scheduler, number: int) -> None:
    with Client(scheduler.address, set_as_default=False) as client:
        client.wait_for_workers(number, timeout=300)


def test_a_worker_that_dies_is_replaced_by_another(world: World, scheduler: Scheduler) -> None:
    with pytest.raises(BatchError, match="has no worker"):
        batch.run(world.request, world.work, dask=scheduler.address)

    workers = [start_worker(world, scheduler) for _ in range(2)]
    try:
        wait_for_workers(scheduler, 2)
        command = subprocess.Popen(
            world.command("--dask", scheduler.address, "-c", "double:seconds=0.2"), env=world.environment
        )
        world.wait_for_executions(4)
        workers[0].kill()
        assert command.wait(300) == 0
        (request,) = world.work.glob("*/request.json")
        assert world.totals(request.parent.name.replace("__", "/")) == TOTALS
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def test_what_a_lost_scheduler_leaves_is_executed_by_the_next_command(
    world: World, scheduler: Scheduler
) -> None:
    worker = start_worker(world, scheduler)
    try:
        wait_for_workers(scheduler, 1)
        slow = ("-c", "double:seconds=0.2")
        command = subprocess.Popen(
            world.command("--dask", scheduler.address, *slow),
            env=world.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        world.wait_for_executions(4)
        scheduler.process.kill()
        _, errors = command.communicate(timeout=300)
        assert command.returncode == 1
        assert "the Dask scheduler was lost" in errors
    finally:
        worker.kill()
        worker.wait()
    before = world.executed().total()
    assert before < N_QUANTA
    subprocess.run(world.command(*slow), env=world.environment, check=True)
    (request,) = world.work.glob("*/request.json")
    assert world.totals(request.parent.name.replace("__", "/")) == TOTALS
    # At most what the worker had in hand was executed twice.
    assert world.executed().total() <= N_QUANTA + 1


def test_requests_that_cannot_be_carried_out_say_why(world: World) -> None:
    nothing = replace(world.request, where="exposure = 99")
    with pytest.raises(BatchError, match="finds nothing to process"):
        batch.run(nothing, world.work)
    with pytest.raises(BatchError, match=r"lacks an input collection: .*absent"):
        batch.run(replace(world.request, inputs=("in", "absent")), world.work)
    with pytest.raises(BatchError, match="name the output"):
        batch.run(replace(world.request, output=""), world.work)
    with pytest.raises(BatchError, match="no task 'halve'"):
        batch.run(replace(world.request, config=("halve:seconds=1",)), world.work)
    with pytest.raises(BatchError, match=r"missing.yaml"):
        batch.run(replace(world.request, pipeline="missing.yaml"), world.work)
    with pytest.raises(BatchError, match="no Dask scheduler answers"):
        batch.run(world.request, world.work, dask="tcp://127.0.0.1:9")
    with Butler.from_config(str(world.repo)) as butler:
        assert set(butler.collections.query("*")) == {"in"}
    assert not list(world.work.glob("*/request.json"))

    batch.run(replace(world.request, where="exposure = 0"), world.work, "u/named")
    with pytest.raises(BatchError, match="begun with another where"):
        batch.run(world.request, world.work, "u/named")
