"""How many pods a night needs, what waits for them, what is lost, and what it costs.

    python benchmarks/autoscaling.py                            a night of LSSTCam
    python benchmarks/autoscaling.py --hours 2                  quicker
    python benchmarks/autoscaling.py --images doc/images        the pictures of doc/scaling.md
    python benchmarks/autoscaling.py --to-last-alert 6          with another worker

189 detectors every 37 s are sent to pods that the rules of Knative's autoscaler or of KEDA's ScaledJob make
and remove (`scaling/knative.py` and `scaling/keda.py`, read from their sources). Times of a worker are what
the demo reaches on one core. The random numbers are the same in every run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from scaling.keda import KedaSettings
from scaling.knative import KnativeSettings
from scaling.night import Cluster, Night, Simulation, Survey, Worker
from scaling.report import Summary, draw_course, draw_limits, table

MOST = 400
# What the charts say, with the limit of LSSTCam.
KNATIVE = KnativeSettings(max_scale=MOST, scale_down_delay_s=600.0, retention_s=1800.0)
KEDA = KedaSettings(max_replicas=MOST, listen_timeout_s=300.0)
LIMITS = (80, 100, 110, 120, 130, 140, 160, 200, 250, 300, 400, 600)
DELAYS = (0.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


@dataclass
class Scenarios:
    """Nights of one survey and one kind of worker."""

    survey: Survey
    worker: Worker
    cluster: Cluster = field(default_factory=Cluster)

    def night(self, scaling: KnativeSettings | KedaSettings, **cluster: float) -> Night:
        """Simulate one."""
        changed = replace(self.cluster, **cluster)  # type: ignore[arg-type]
        return Simulation(scaling, self.survey, self.worker, changed).run()

    def summary(self, name: str, scaling: KnativeSettings | KedaSettings, **cluster: float) -> Summary:
        """Simulate one and sum it up."""
        return Summary.of(name, self.night(scaling, **cluster))

    def settings(self) -> list[Summary]:
        """Nights that differ in how they scale."""
        return [
            self.summary("Knative, as the chart says", KNATIVE),
            self.summary("idle pods go at once", replace(KNATIVE, scale_down_delay_s=0.0)),
            self.summary(
                "70 % utilization, 600 pods", replace(KNATIVE, target_utilization=0.7, max_scale=600)
            ),
            self.summary("600 pods at most", replace(KNATIVE, max_scale=600)),
            self.summary("200 pods at most", replace(KNATIVE, max_scale=200)),
            self.summary("120 pods at most", replace(KNATIVE, max_scale=120)),
            self.summary("30 pods at most", replace(KNATIVE, max_scale=30)),
            self.summary("400 pods always", replace(KNATIVE, min_scale=400)),
            self.summary("KEDA, as the chart says", KEDA),
            self.summary("polling every 30 s", replace(KEDA, polling_interval_s=30.0)),
            self.summary(
                "strategy accurate, 600 workers", replace(KEDA, strategy="accurate", max_replicas=600)
            ),
            self.summary("strategy eager, 600 workers", replace(KEDA, strategy="eager", max_replicas=600)),
            self.summary("600 workers at most", replace(KEDA, max_replicas=600)),
            self.summary("200 workers at most", replace(KEDA, max_replicas=200)),
            self.summary("120 workers at most", replace(KEDA, max_replicas=120)),
            self.summary("idle workers stay 30 s", replace(KEDA, listen_timeout_s=30.0)),
        ]

    def troubles(self) -> list[Summary]:
        """Nights in which something is not as it should be."""
        rows: list[Summary] = []
        for name, scaling in (("Knative", KNATIVE), ("KEDA", KEDA)):
            rows += [
                self.summary(f"{name}: 3 nodes of 30 pods fail", scaling, node_failures=3.0),
                self.summary(f"{name}: cold start of 60 s", scaling, cold_start_s=60.0),
                self.summary(f"{name}: database with 4 connections", scaling, database_connections=4),
                self.summary(f"{name}: database with 2 connections", scaling, database_connections=2),
                self.summary(f"{name}: the same, outputs through the writer", scaling, database_connections=2,
                             export_database_s=0.01),
            ]  # fmt: skip
        return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print and draw."""
    console = Console(width=150)
    options = _parse(arguments)
    worker = Worker(to_last_alert_s=options.to_last_alert, export_s=options.export)
    scenarios = Scenarios(Survey(detectors=options.detectors, hours=options.hours), worker)
    if options.images:
        _draw(scenarios, options.images)
        return 0
    tables = [scenarios.settings(), scenarios.troubles()]
    for rows in tables:
        console.print(table(rows, options.price, options.markdown), soft_wrap=options.markdown)
    chosen = [row for row in tables[0] if row.name.endswith("as the chart says")]
    return int(any(row.lost or row.late for row in chosen))


def _draw(scenarios: Scenarios, folder: Path) -> None:
    hours = scenarios.survey.hours
    share, length = scenarios.survey.pauses[-1]
    nights = [("Knative", scenarios.night(KNATIVE)), ("KEDA", scenarios.night(KEDA))]
    draw_course(nights, (share * hours * 3600, length), folder / "scaling-course.png")
    # Two hours tell the limits and the delays as well as ten.
    short = replace(scenarios, survey=replace(scenarios.survey, hours=2.0))
    limits = {
        "Knative": [(most, short.summary("", replace(KNATIVE, max_scale=most))) for most in LIMITS],
        "KEDA": [(most, short.summary("", replace(KEDA, max_replicas=most))) for most in LIMITS],
    }
    delays = {
        "Knative": [(stay, short.summary("", replace(KNATIVE, scale_down_delay_s=stay))) for stay in DELAYS],
        "KEDA": [(stay, short.summary("", replace(KEDA, listen_timeout_s=stay))) for stay in DELAYS],
    }
    draw_limits(limits, delays, folder / "scaling-limits.png")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=10.0, help="of the night")
    parser.add_argument("--detectors", type=int, default=189)
    parser.add_argument("--to-last-alert", type=float, default=Worker.to_last_alert_s, metavar="S")
    parser.add_argument("--export", type=float, default=Worker.export_s, metavar="S")
    parser.add_argument("--price", type=float, default=0.05, help="of a pod for an hour")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="draw pictures there, instead")
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
