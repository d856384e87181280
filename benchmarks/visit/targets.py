"""The budget of a visit-detector, and whether it is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from .machine import QUIET

BUDGETS = {
    "preload": 0.5,
    "Preprocessing pipeline": 0.2,
    "ingest": 0.05,
    "quantum graph": 0.15,
    "isr": 0.5,
    "calibrateImage": 1.3,
    "buildTemplate": 0.5,
    "subtractImages": 0.7,
    "detectAndMeasureDiaSource": 0.45,
    "associateApdb": 0.1,
    "image to last alert": 4.0,
    "export": 1.2,
    "clean": 0.3,
}
"""CPU seconds of each step. Those between image and last alert share 4.0 s; the small ones have the rest."""

ON_PATH = "image to last alert"
EXPORT_AND_CLEAN = "export and clean"
EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Target:
    """A limit on a measured value.

    Attributes
    ----------
    what, unit
        Name and unit of the value.
    limit
        The largest value that meets the target.
    by_clock
        Whether the value is read from the wall clock, which other programs lengthen without limit.
    """

    what: str
    limit: float
    unit: str = "s"
    by_clock: bool = False

    def verdict(self, value: float, others: float) -> str:
        """Judge a value.

        Parameters
        ----------
        value
            As measured, in the target's unit.
        others
            Cores that other programs kept busy meanwhile.

        Returns
        -------
        verdict
            On a quiet machine whether the target is met. On a busy one no target is called met: CPU seconds
            are then too high by an unknown amount, so that they can only be within their limit or not, and
            seconds of the wall clock say nothing.
        """
        if others > QUIET and self.by_clock:
            return "not judged: busy machine"
        if value > self.limit:
            return f"{value / self.limit:.1f} times as much"
        return "met" if others <= QUIET else "within, busy machine"


TARGETS = (
    Target("CPU of a visit-detector, everything", 7.0),
    Target("of it preload, warm worker, same field", 0.5),
    Target("image to last alert, CPU", 4.0),
    Target("export and clean, CPU", 1.5),
    Target("image to last alert, wall, median", 2.0, by_clock=True),
    Target("all but the tasks' own arithmetic, wall", 1.0, by_clock=True),
    Target("peak memory of a worker", 1.5, "GiB"),
    Target("import of the worker's modules, CPU", 2.0),
    Target("cold start to ready, CPU", 2.0),
    Target("cold start to ready, wall, median", 2.0, by_clock=True),
)
"""What ``doc/benchmarks.md`` reports of a visit, in its order."""


def step_table(
    title: str, steps: list[str], median: Callable[[str, str], float], first: Callable[[str], float]
) -> Table:
    """Make the table of the steps: CPU and its budget first, then wall clock, arithmetic and memory.

    Parameters
    ----------
    title
        Title.
    steps
        Names of the steps, in order.
    median
        Returns the median of a step's ``cpu``, ``wall``, ``arithmetic`` (s) or ``mib``.
    first
        Returns the CPU seconds of a step in the first visit of the process.
    """
    table = Table(title=title)
    columns = ("step", "CPU, s", "budget, s", "wall, s", "arithmetic, s", "peak, MiB", "first visit, CPU s")
    for column in columns:
        table.add_column(column, justify="left" if column == "step" else "right")
    for step in steps:
        budget, cpu = BUDGETS.get(step), median(step, "cpu")
        over = budget is not None and cpu > budget
        table.add_row(
            step,
            f"[bold]{cpu:.2f}[/bold]" if over else f"{cpu:.2f}",
            "" if budget is None else f"{budget:g}",
            *(f"{median(step, what):.2f}" for what in ("wall", "arithmetic")),
            f"{median(step, 'mib'):.0f}",
            f"{first(step):.2f}",
            style="bold" if step == ON_PATH else None,
        )
    return table


def target_table(values: dict[str, float], others: float) -> Table:
    """Make the table of the targets.

    Parameters
    ----------
    values
        Measured value by the name of the target, in its unit; targets without a value are left out.
    others
        Cores that other programs kept busy meanwhile.
    """
    table = Table(title=f"Targets; other programs kept {others:.2f} cores busy")
    for column in ("what", "measured", "target", ""):
        table.add_column(column, justify="right" if column in ("measured", "target") else "left")
    for target in TARGETS:
        if target.what in values:
            value = values[target.what]
            table.add_row(
                target.what,
                f"{value:.2f} {target.unit}",
                f"{target.limit:g} {target.unit}",
                target.verdict(value, others),
            )
    return table
