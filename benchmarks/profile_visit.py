"""Profile the time and memory of one visit by task and by call.

    python benchmarks/profile_visit.py                       a full LSSTCam detector, as in the demo
    python benchmarks/profile_visit.py --calls               also the calls of each task
    python benchmarks/profile_visit.py --instrument LATISS --detectors 0 --visits 3

One worker runs preload, ingest, pipeline with a real APDB (SQLite) and real alerts (the embedded broker in
another process), and export, without waiting for messages. The first visit of a process is a warm-up and is
shown separately; the median of the others is compared with the targets. The night is simulated once and
reused by later runs.

Three columns of time: `CPU`, of all threads, which depends least on other load, with the budget of the step
beside it (bold where it is exceeded); `wall`; and `arithmetic`, the wall time inside the tasks' own
functions, so that `wall - arithmetic` is the cost of the middleware and the files.

The load of other programs is measured during the visits. On a busy machine no target is called met: CPU
seconds are then a tenth to a half too high, and the wall clock says nothing.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from lsst.dax.apdb.sql import ApdbSql
from lsst.resources import ResourcePath
from rich.console import Console
from visit.cold_start import ColdStart, cold_start
from visit.flame import Flame
from visit.ledger import Ledger, show_calls, watch_tasks
from visit.machine import OtherLoad
from visit.targets import (
    EVERYTHING,
    EXPORT_AND_CLEAN,
    ON_PATH,
    TARGETS,
    step_table,
    target_table,
)

from prompt_processing.activator.services.visit_rules import VisitRules
from prompt_processing.activator.services.workspace import Repositories, Workspace
from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments import read_header, translate
from prompt_processing.repository.central import make_central_repository
from prompt_processing.repository.content import simulated_content
from prompt_processing.settings.freed_memory import reuse_freed_memory
from prompt_processing.settings.worker import Settings
from prompt_processing.simulation.night import Night, build_night
from prompt_processing.transport.private_folder import make_private

PIPELINES = Path(__file__).parents[1] / "pipelines"


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
    parser.add_argument(
        "--flame", type=Path, help="draw the visits after the first as a flame graph (SVG) of CPU seconds"
    )
    options = parser.parse_args()
    # As in a worker, which does so before its first thread.
    reuse_freed_memory()
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
    with alert_broker() as (broker, process_id):
        os.environ |= {"AP_KAFKA_SERVER": broker, "AP_KAFKA_TOPIC": "alerts"}
        try:
            run(night, folder, options, console, OtherLoad((process_id,)))
        finally:
            shutil.rmtree(folder)


@contextmanager
def alert_broker() -> Iterator[tuple[str, int]]:
    """Start a broker; yield its address and the id of its process."""
    command = [sys.executable, "-m", "prompt_processing.embedded_broker", "alerts"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[1], server.pid
        finally:
            server.stdin.close()


def run(night: Night, folder: Path, options: argparse.Namespace, console: Console, load: OtherLoad) -> None:
    instrument = night.camera.name
    paths = {
        stem: str(PIPELINES / instrument / f"{stem}.yaml") for stem in ["Preprocessing", *options.pipelines]
    }
    content = simulated_content(night)
    make_central_repository(str(folder / "central"), night.camera, content, pipelines=list(paths.values()))
    ApdbSql.init_database(db_url=f"sqlite:///{folder}/apdb.db").save(str(folder / "apdb.yaml"))
    # The tasks read this themselves.
    os.environ["CONFIG_APDB"] = str(folder / "apdb.yaml")
    values = {
        "rubin_instrument": instrument,
        "skymap": night.sky_map.name,
        "central_repo": str(folder / "central"),
        "local_repos": str(folder),
        "image_bucket": "unused",
        "kafka_cluster": "unused",
        "bucket_topic": "unused",
        "preprocessing_pipelines_config": f"- pipelines: [{paths['Preprocessing']}]",
        "main_pipelines_config": f"- pipelines: [{', '.join(paths[stem] for stem in options.pipelines)}]",
    }
    settings = Settings.load(**values)
    del content
    # The topic of the alerts stands for that of arrival notices.
    start = cold_start({**values, "kafka_cluster": os.environ["AP_KAFKA_SERVER"], "bucket_topic": "alerts"})
    repositories = Repositories.open(settings, night.camera)
    rules = VisitRules.from_settings(settings, night.camera)
    # As a worker does before its first visit.
    gc.freeze()
    ledger = Ledger()
    watch_tasks(ledger)
    flame = Flame()
    announcements = [(group, detector) for group in night.groups for detector in group["detectors"]]
    for number, (group, detector) in enumerate(announcements):
        if options.calls and number == len(announcements) - 1:
            ledger.calls = {}
        visit = announcement(group, detector)
        raws = [ResourcePath(str(path)) for path in raws_of(night, group, detector)]
        console.print(f"{visit}", highlight=False)
        ledger.visits.append({})
        workspace = Workspace(repositories, settings, visit, rules.pipelines(visit))
        with flame.watching() if options.flame and number else nullcontext():
            process(ledger, workspace, raws, export=not options.no_export)
    if options.flame:
        flame.write(options.flame, f"CPU seconds of {len(announcements) - 1} visits of a warm worker")
    others = load.cores()
    repositories.close()
    show(ledger, console, start, others)


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
        acknowledged = float(result.metadata["associateApdb"]["associateApdb"]["alertsLastAckUnix"])
    on_path = [entry for label, entry in ledger.now.items() if label not in OFF_PATH]
    latency = (acknowledged or time.time()) - arrival
    ledger.now[ON_PATH] = {
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
    ledger.now[EXPORT_AND_CLEAN] = add_up([ledger.now[step] for step in AFTER_ALERTS if step in ledger.now])
    ledger.now[EVERYTHING] = add_up([ledger.now[step] for step in PARTS_OF_EVERYTHING])


OFF_PATH = {
    "preload",
    "Preprocessing pipeline",
    "loadDiaCatalogs",
    "mpSkyEphemerisQuery",
    "hand over",
    "export",
    "clean",
}
AFTER_ALERTS = ("hand over", "export", "clean")
PARTS_OF_EVERYTHING = ("preload", "Preprocessing pipeline", ON_PATH, EXPORT_AND_CLEAN)


def add_up(entries: list[dict[str, float]]) -> dict[str, float]:
    """Return the sums of the times, and the largest memory."""
    return {
        "mib": max(entry["mib"] for entry in entries),
        **{what: sum(entry[what] for entry in entries) for what in ("wall", "cpu", "arithmetic")},
    }


def show(ledger: Ledger, console: Console, start: ColdStart, others: float) -> None:
    measured = ledger.visits[1:] or ledger.visits
    if ledger.calls is not None:
        measured = measured[:-1] or measured

    def median(step: str, what: str) -> float:
        return statistics.median(visit[step][what] for visit in measured if step in visit)

    def first(step: str) -> float:
        return ledger.visits[0].get(step, {}).get("cpu", 0.0)

    steps = [step for step in ledger.visits[-1] if any(step in visit for visit in measured)]
    console.print(step_table(f"Median of {len(measured)} visits of a warm worker", steps, median, first))
    wall, arithmetic = (median(ON_PATH, what) for what in ("wall", "arithmetic"))
    values = dict(
        zip(
            (target.what for target in TARGETS),
            (
                median(EVERYTHING, "cpu"),
                median("preload", "cpu"),
                median(ON_PATH, "cpu"),
                median(EXPORT_AND_CLEAN, "cpu"),
                wall,
                wall - arithmetic,
                max(entry["mib"] for visit in ledger.visits for entry in visit.values()) / 1024,
                start.imported,
                start.ready,
                start.wall,
            ),
            strict=True,
        )
    )
    console.print(target_table(values, others))
    for step, profile in (ledger.calls or {}).items():
        show_calls(step, profile, console)


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
