"""Profile the time and memory of one visit by task and by call.

    python benchmarks/profile_visit.py                       a full LSSTCam detector, as in the demo
    python benchmarks/profile_visit.py --calls               also the calls of each task
    python benchmarks/profile_visit.py --instrument LATISS --detectors 0 --visits 3

One worker runs preload, ingest, pipeline with a real APDB (SQLite) and real alerts (the embedded broker in
another process), and export, without waiting for messages. The first visit of a process is a warm-up and is
shown separately; the median of the others is compared with the targets. The night is simulated once and
reused by later runs.

Three columns of time: `wall`; `CPU`, of all threads, which depends less on other load; and `arithmetic`, the
wall time inside the tasks' own functions, so that `wall - arithmetic` is the cost of the middleware and the
files.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import os
import pstats
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lsst.dax.apdb.sql import ApdbSql
from lsst.resources import ResourcePath
from rich.console import Console
from rich.table import Table

from prompt_processing.activator.services import pipelines as pipeline_runs
from prompt_processing.activator.services.visit_outputs import VisitOutputs
from prompt_processing.activator.services.visit_rules import VisitRules
from prompt_processing.activator.services.workspace import Repositories, Workspace
from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments import read_header, translate
from prompt_processing.repository.central import make_central_repository
from prompt_processing.repository.content import simulated_content
from prompt_processing.settings.worker import Settings
from prompt_processing.simulation.night import Night, build_night
from prompt_processing.tasks import associate_apdb
from prompt_processing.tasks.connected_task import ConnectedTaskFactory
from prompt_processing.transport.private_folder import make_private

PIPELINES = Path(__file__).parents[1] / "pipelines"
TARGET_SECONDS, TARGET_OVERHEAD_SECONDS, TARGET_MIB = 4.0, 1.0, 2048
MIDDLEWARE = {"get", "put", "store", "from_uri", "build_quantum_graph", "_importDatasets", "transfer_from"}
BOILERPLATE = {"execute", "watched_execute", "call", "watched", "in_bands"}
CALLS_SHOWN, CALL_SECONDS = 12, 0.02


class Ledger:
    """Wall, CPU and arithmetic seconds, and peak memory, by step of a visit."""

    def __init__(self) -> None:
        self.visits: list[dict[str, dict[str, float]]] = []
        self.calls: dict[str, cProfile.Profile] | None = None

    @property
    def now(self) -> dict[str, dict[str, float]]:
        return self.visits[-1]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        entry = self.now.setdefault(name, dict.fromkeys(("wall", "cpu", "arithmetic", "mib"), 0.0))
        profile = self.calls.setdefault(name, cProfile.Profile()) if self.calls is not None else None
        forget_peak()
        wall, cpu = time.monotonic(), time.process_time()
        if profile is not None:
            profile.enable()
        try:
            yield
        finally:
            if profile is not None:
                profile.disable()
            entry["wall"] += time.monotonic() - wall
            entry["cpu"] += time.process_time() - cpu
            entry["mib"] = max(entry["mib"], peak_mib())

    def add_arithmetic(self, name: str, seconds: float) -> None:
        self.now[name]["arithmetic"] += seconds


def forget_peak() -> None:
    """Reset the kernel's peak of the resident memory."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def watch_tasks(ledger: Ledger) -> None:
    """Time each task of the pipelines, and its ``run`` separately from its reading and writing."""
    executor: Any = pipeline_runs._WatchedExecutor
    execute = executor.execute

    def watched_execute(self: Any, task_node: Any, *args: Any, **kwargs: Any) -> Any:
        with ledger.step(task_node.label):
            return execute(self, task_node, *args, **kwargs)

    executor.execute = watched_execute

    def timed(function: Callable[..., Any], label: Callable[[], str]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                ledger.add_arithmetic(label(), time.monotonic() - start)

        return call

    factory: Any = ConnectedTaskFactory
    make_task = factory.makeTask

    def watched_make_task(self: Any, task_node: Any, *args: Any) -> Any:
        task = make_task(self, task_node, *args)
        task.run = timed(task.run, lambda: task_node.label)
        return task

    factory.makeTask = watched_make_task
    for owner, method, name in (
        (pipeline_runs.PipelineRun, "build", "quantum graph"),
        (VisitOutputs, "hand_over", "hand over"),
    ):
        watch_method(ledger, owner, method, name)
    # This task also waits for the APDB and Kafka: its arithmetic is the association alone.
    associate_apdb.associate_visit = timed(  # type: ignore[attr-defined]
        associate_apdb.associate_visit,  # type: ignore[attr-defined]
        lambda: "associateApdb",
    )


def watch_method(ledger: Ledger, owner: Any, method: str, name: str) -> None:
    """Make every call of a method a step."""
    original = getattr(owner, method)

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        with ledger.step(name):
            return original(self, *args, **kwargs)

    setattr(owner, method, watched)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default_night = Path(tempfile.gettempdir()) / "prompt-processing-profile"
    parser.add_argument("--night", type=Path, help=f"simulated night (default: {default_night}-<instrument>)")
    parser.add_argument("--instrument", default="LSSTCam")
    parser.add_argument("--detectors", type=int, nargs="+", default=[94])
    parser.add_argument("--visits", type=int, default=4)
    parser.add_argument(
        "--miniature", type=int, nargs=2, metavar=("COLUMNS", "ROWS"), help="size of amplifiers"
    )
    parser.add_argument("--pipelines", nargs="+", default=["ApPipe", "SingleFrame", "Isr"])
    parser.add_argument("--calls", action="store_true", help="print the calls of each step; adds overhead")
    parser.add_argument(
        "--no-export", action="store_true", help="skip the export, which is off the critical path"
    )
    options = parser.parse_args()
    use_butler_types()
    console = Console()
    night_folder = options.night or Path(f"{default_night}-{options.instrument}")
    if options.night is None:
        # The folder's name is predictable, and its contents are executed.
        make_private(night_folder)
    if not (night_folder / "night.json").exists():
        miniature = options.miniature and tuple(options.miniature)
        with console.status("Simulating the night ..."):
            build_night(
                night_folder, options.instrument, options.detectors, options.visits, miniature=miniature
            )
    night = Night.load(night_folder)
    folder = Path(tempfile.mkdtemp(prefix="visit-"))
    with alert_broker() as broker:
        os.environ |= {"AP_KAFKA_SERVER": broker, "AP_KAFKA_TOPIC": "alerts"}
        try:
            run(night, folder, options, console)
        finally:
            shutil.rmtree(folder)


@contextmanager
def alert_broker() -> Iterator[str]:
    command = [sys.executable, "-m", "prompt_processing.embedded_broker", "alerts"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[1]
        finally:
            server.stdin.close()


def run(night: Night, folder: Path, options: argparse.Namespace, console: Console) -> None:
    instrument = night.camera.name
    paths = {
        stem: str(PIPELINES / instrument / f"{stem}.yaml") for stem in ["Preprocessing", *options.pipelines]
    }
    content = simulated_content(night)
    make_central_repository(str(folder / "central"), night.camera, content, pipelines=list(paths.values()))
    ApdbSql.init_database(db_url=f"sqlite:///{folder}/apdb.db").save(str(folder / "apdb.yaml"))
    # The tasks read this themselves.
    os.environ["CONFIG_APDB"] = str(folder / "apdb.yaml")
    settings = Settings.load(
        rubin_instrument=instrument,
        skymap=night.sky_map.name,
        central_repo=str(folder / "central"),
        local_repos=str(folder),
        image_bucket="unused",
        kafka_cluster="unused",
        bucket_topic="unused",
        preprocessing_pipelines_config=f"- pipelines: [{paths['Preprocessing']}]",
        main_pipelines_config=f"- pipelines: [{', '.join(paths[stem] for stem in options.pipelines)}]",
    )
    del content
    repositories = Repositories.open(settings, night.camera)
    rules = VisitRules.from_settings(settings, night.camera)
    ledger = Ledger()
    watch_tasks(ledger)
    announcements = [(group, detector) for group in night.groups for detector in group["detectors"]]
    for number, (group, detector) in enumerate(announcements):
        if options.calls and number == len(announcements) - 1:
            ledger.calls = {}
        visit = announcement(group, detector)
        raws = [ResourcePath(str(path)) for path in raws_of(night, group, detector)]
        console.print(f"{visit}", highlight=False)
        ledger.visits.append({})
        workspace = Workspace(repositories, settings, visit, rules.pipelines(visit))
        process(ledger, workspace, raws, export=not options.no_export)
    repositories.close()
    show(ledger, console)


def raws_of(night: Night, group: dict[str, Any], detector: int) -> Iterator[Path]:
    for path in night.raws:
        seen = translate(read_header(path), str(path))
        if seen.detector == detector and seen.exposure_id in group["exposures"]:
            yield path


def process(ledger: Ledger, workspace: Workspace, raws: list[ResourcePath], *, export: bool) -> None:
    with ledger.step("preload"):
        workspace.preload()
    with ledger.step("Preprocessing pipeline"):
        workspace.run_preprocessing()
    # Its parts are included, and share names with those of the main pipeline.
    for step in ("quantum graph", "hand over"):
        ledger.now.pop(step, None)
    arrival = time.time()
    with ledger.step("ingest"):
        workspace.ingest(raws)
    before = set(ledger.now)
    start, cpu = time.monotonic(), time.process_time()
    result = workspace.run_pipeline()
    wall, cpu = time.monotonic() - start, time.process_time() - cpu
    tasks = [entry for label, entry in ledger.now.items() if label not in before]
    ledger.now["around the tasks"] = {
        "wall": wall - sum(entry["wall"] for entry in tasks),
        "cpu": cpu - sum(entry["cpu"] for entry in tasks),
        "arithmetic": 0.0,
        "mib": 0.0,
    }
    acknowledged = 0.0
    if "associateApdb" in result.metadata:
        acknowledged = float(result.metadata["associateApdb"]["associateApdb"]["alertsLastAckUnix"])  # type: ignore[arg-type,index]
    on_path = [entry for label, entry in ledger.now.items() if label not in OFF_PATH]
    latency = (acknowledged or time.time()) - arrival
    ledger.now["image to last alert"] = {
        "wall": latency,
        "cpu": sum(entry["cpu"] for entry in on_path),
        "arithmetic": sum(entry["arithmetic"] for entry in on_path),
        "mib": max(entry["mib"] for entry in on_path),
    }
    if export:
        with ledger.step("export"):
            workspace.export()
    with ledger.step("clean"):
        workspace.clean()


OFF_PATH = {
    "preload",
    "Preprocessing pipeline",
    "loadDiaCatalogs",
    "mpSkyEphemerisQuery",
    "hand over",
    "export",
    "clean",
}


def show(ledger: Ledger, console: Console) -> None:
    measured = ledger.visits[1:] or ledger.visits
    if ledger.calls is not None:
        measured = measured[:-1] or measured
    table = Table(title=f"Median of {len(measured)} visits of a warm worker")
    for column in ("step", "wall, s", "CPU, s", "arithmetic, s", "peak, MiB", "first visit, s"):
        table.add_column(column, justify="left" if column == "step" else "right")
    steps = dict.fromkeys(step for visit in ledger.visits for step in visit)

    def median(step: str, what: str) -> float:
        return statistics.median(visit[step][what] for visit in measured if step in visit)

    for step in steps:
        if not any(step in visit for visit in measured):
            continue
        first = ledger.visits[0].get(step, {}).get("wall", 0.0)
        row = [f"{median(step, what):.2f}" for what in ("wall", "cpu", "arithmetic")]
        style = "bold" if step == "image to last alert" else "dim" if step in OFF_PATH else None
        table.add_row(step, *row, f"{median(step, 'mib'):.0f}", f"{first:.2f}", style=style)
    console.print(table)
    wall, arithmetic = (median("image to last alert", what) for what in ("wall", "arithmetic"))
    peak = max(entry["mib"] for visit in ledger.visits for entry in visit.values())
    goals = Table(title="Targets")
    for column in ("what", "target", "measured", ""):
        goals.add_column(column, justify="left" if column == "what" else "right")
    for what, target, value, unit in (
        ("image to last alert acknowledged, median", TARGET_SECONDS, wall, "s"),
        ("of it, all but the tasks' own arithmetic", TARGET_OVERHEAD_SECONDS, wall - arithmetic, "s"),
        ("peak memory of the worker", TARGET_MIB, peak, "MiB"),
    ):
        met = "met" if value <= target else f"{value / target:.1f} times as much"
        goals.add_row(what, f"{target:g} {unit}", f"{value:.2f} {unit}", met)
    console.print(goals)
    for step, profile in (ledger.calls or {}).items():
        show_calls(step, profile, console)


def show_calls(step: str, profile: cProfile.Profile, console: Console) -> None:
    """Print the slowest calls of the project's own functions and of the middleware's."""
    statistics_of_calls: Any = pstats.Stats(profile, stream=io.StringIO())
    rows = []
    for (file, _, name), (_, count, own, cumulative, _) in statistics_of_calls.stats.items():
        if (
            "prompt_processing" in file or "/lsst/" in file or name.startswith("<")
        ) and cumulative > CALL_SECONDS:
            rows.append((cumulative, own, count, f"{Path(file).stem}.{name}" if file != "~" else name))
    if not rows:
        return
    table = Table(title=f"Calls of {step}")
    for column in ("call", "cumulative, s", "own, s", "times"):
        table.add_column(column, justify="left" if column == "call" else "right")
    for cumulative, own, count, name in sorted(rows, reverse=True)[:CALLS_SHOWN]:
        table.add_row(name, f"{cumulative:.3f}", f"{own:.3f}", str(count))
    console.print(table)


def announcement(group: dict[str, Any], detector: int) -> FannedOutVisit:
    now = time.time() + 37
    return FannedOutVisit.parse(
        {
            "salIndex": 1,
            "groupId": group["group"],
            "coordinateSystem": 2,
            "position": [group["ra"], group["dec"]],
            "startTime": now,
            "rotationSystem": 2,
            "cameraAngle": group["rotation"],
            "filters": group["physical_filter"],
            "duration": group["duration"],
            "nimages": group["nimages"],
            "instrument": group["instrument"],
            "survey": group["survey"],
            "private_sndStamp": now,
            "detector": detector,
        }
    )


if __name__ == "__main__":
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        # As in a worker; NumPy reads it once, on import.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    main()
