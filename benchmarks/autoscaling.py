"""Simulate the pods of a night: their number, waiting times, losses and cost.

    python benchmarks/autoscaling.py                            a night of LSSTCam
    python benchmarks/autoscaling.py --hours 2                  a shorter night
    python benchmarks/autoscaling.py --images doc/images        the pictures of doc/scaling.md
    python benchmarks/autoscaling.py --to-last-alert 6          with another worker

189 detectors every 37 s are sent to pods that the rules of Knative's autoscaler or of KEDA's ScaledJob create
and remove (`scaling/knative.py` and `scaling/keda.py`, modelled on their sources). A worker's times are those
that `profile_visit.py` measures, on one core, and in two nights on two cores. The random numbers are the same
in every run.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from scaling.conditions import Cluster, Survey, Worker
from scaling.keda import KedaSettings
from scaling.knative import KnativeSettings
from scaling.night import Night, Simulation
from scaling.report import Summary, draw_course, draw_limits, table

MOST = 400
# Values of the charts, with the limit of LSSTCam.
KNATIVE = KnativeSettings(max_scale=MOST, scale_down_delay_s=300.0, retention_s=1800.0)
KEDA = KedaSettings(max_replicas=MOST, listen_timeout_s=300.0)
CHOSEN = ", as the charts say"
LIMITS = (18, 20, 21, 22, 23, 24, 25, 26, 28, 30, 40, 60, 100, 200, 300, 400)
TWO_CORES = Worker(preload_s=0.3, first_preload_s=2.0, to_last_alert_s=2.0, export_s=0.9)
"""Wall clock of a single worker on two cores."""
DELAYS = (0.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


@dataclass(frozen=True)
class Case:
    """One night to simulate."""

    name: str
    scaling: KnativeSettings | KedaSettings
    survey: Survey
    worker: Worker
    cluster: Cluster = field(default_factory=Cluster)

    def night(self) -> Night:
        """Simulate the night."""
        return Simulation(self.scaling, self.survey, self.worker, self.cluster).run()

    def summary(self) -> Summary:
        """Simulate and summarise the night."""
        return Summary.of(self.name, self.night())


def settings(survey: Survey, worker: Worker) -> list[Case]:
    """Return nights with different scaling settings."""
    different: list[tuple[str, KnativeSettings | KedaSettings]] = [
        (f"Knative{CHOSEN}", KNATIVE),
        ("idle pods go at once", replace(KNATIVE, scale_down_delay_s=0.0)),
        ("idle pods stay 30 min", replace(KNATIVE, scale_down_delay_s=1800.0)),
        ("400 pods always", replace(KNATIVE, min_scale=400)),
        ("70 % utilization, 600 pods", replace(KNATIVE, target_utilization=0.7, max_scale=600)),
        ("600 pods at most", replace(KNATIVE, max_scale=600)),
        ("200 pods at most", replace(KNATIVE, max_scale=200)),
        ("60 pods at most", replace(KNATIVE, max_scale=60)),
        ("30 pods at most", replace(KNATIVE, max_scale=30)),
        ("20 pods at most", replace(KNATIVE, max_scale=20)),
        (f"KEDA{CHOSEN}", KEDA),
        ("polling every 30 s", replace(KEDA, polling_interval_s=30.0)),
        ("idle workers stay 30 s", replace(KEDA, listen_timeout_s=30.0)),
        ("600 workers at most", replace(KEDA, max_replicas=600)),
        ("the same, strategy accurate", replace(KEDA, strategy="accurate", max_replicas=600)),
        ("the same, strategy eager", replace(KEDA, strategy="eager", max_replicas=600)),
        ("200 workers at most", replace(KEDA, max_replicas=200)),
        ("30 workers at most", replace(KEDA, max_replicas=30)),
    ]
    cases = [Case(name, scaling, survey, worker) for name, scaling in different]
    for name, scaling in (("Knative", KNATIVE), ("KEDA", KEDA)):
        cases.append(Case(f"{name}, two cores per worker", scaling, survey, TWO_CORES))
    return cases


def troubles(survey: Survey, worker: Worker) -> list[Case]:
    """Return nights with faults."""
    slow = Cluster(database_connections=2)
    different = [
        ("3 nodes of 30 pods fail", Cluster(node_failures=3.0)),
        ("images are pulled first, 50 s", Cluster(pull_s=50.0)),
        ("database with 4 connections", Cluster(database_connections=4)),
        ("database with 2 connections", slow),
        ("the same, outputs through the writer", replace(slow, export_database_s=0.01)),
    ]
    return [
        Case(f"{name}: {trouble}", scaling, survey, worker, cluster)
        for name, scaling in (("Knative", KNATIVE), ("KEDA", KEDA))
        for trouble, cluster in different
    ]


def margins(survey: Survey, worker: Worker) -> list[Case]:
    """Return nights that ask more of workers, with the charts' limit and with half of it."""
    different = [
        *((f"visits take {times} times as long", survey, worker.slower(times)) for times in (3, 8, 12)),
        *(
            (f"{row} visits in a row without images", replace(survey, without_images=row), worker)
            for row in (2, 3, 6)
        ),
    ]
    return [
        Case(f"{most} workers: {trouble}", replace(KEDA, max_replicas=most), observed, slow)
        for most in (MOST, MOST // 2)
        for trouble, observed, slow in different
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print and draw."""
    console = Console(width=150)
    options = _parse(arguments)
    worker = Worker(to_last_alert_s=options.to_last_alert, export_s=options.export)
    survey = Survey(detectors=options.detectors, hours=options.hours)
    # Not forked: a numerics thread may hold a lock at that time.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
        if options.images:
            _draw(survey, worker, options.images, pool)
            return 0
        makers = (settings, troubles, margins)
        tables = [list(pool.map(Case.summary, make(survey, worker))) for make in makers]
    for rows in tables:
        console.print(table(rows, options.price, options.markdown), soft_wrap=options.markdown)
    chosen = [row for row in tables[0] if row.name.endswith(CHOSEN)]
    return int(any(row.lost or row.late for row in chosen))


def _draw(survey: Survey, worker: Worker, folder: Path, pool: Executor) -> None:
    # Three hours include dusk, pauses and dawn.
    survey = replace(survey, hours=min(survey.hours, 3.0))
    share, length = survey.pauses[-1]
    courses = [Case("Knative", KNATIVE, survey, worker), Case("KEDA", KEDA, survey, worker)]
    nights = [(case.name, night) for case, night in zip(courses, pool.map(Case.night, courses), strict=True)]
    draw_course(nights, (share * survey.hours * 3600, length), folder / "scaling-course.png")

    def summaries(scalings: Sequence[KnativeSettings | KedaSettings]) -> list[Summary]:
        return list(pool.map(Case.summary, [Case("", each, survey, worker) for each in scalings]))

    limits = {
        "Knative": summaries([replace(KNATIVE, max_scale=most) for most in LIMITS]),
        "KEDA": summaries([replace(KEDA, max_replicas=most) for most in LIMITS]),
    }
    delays = {
        "Knative": summaries([replace(KNATIVE, scale_down_delay_s=stay) for stay in DELAYS]),
        "KEDA": summaries([replace(KEDA, listen_timeout_s=stay) for stay in DELAYS]),
    }
    draw_limits(
        {name: list(zip(LIMITS, rows, strict=True)) for name, rows in limits.items()},
        {name: list(zip(DELAYS, rows, strict=True)) for name, rows in delays.items()},
        nights[-1][1].visits_underway(survey),
        folder / "scaling-limits.png",
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=10.0, help="length of the night")
    parser.add_argument("--detectors", type=int, default=189)
    parser.add_argument("--to-last-alert", type=float, default=Worker.to_last_alert_s, metavar="S")
    parser.add_argument("--export", type=float, default=Worker.export_s, metavar="S")
    parser.add_argument("--processes", type=int, help="parallel processes (default: one per core)")
    parser.add_argument("--price", type=float, default=0.05, help="price of a pod per hour")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="draw pictures in this folder instead")
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
