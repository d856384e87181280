"""Tables and pictures of simulated nights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from rich.table import Table

from .night import Night

LATE_S = 60.0
"""From the image's arrival to its last alert: what the survey promises."""


@dataclass(frozen=True)
class Summary:
    """What a night came to."""

    name: str
    visits: int
    lost: int
    late: int
    most_pods: int
    pods_made: int
    pod_hours: float
    busy: float
    queue_s: tuple[float, float]
    """Median and 99th percentile, from the announcement to a worker."""
    alert_s: tuple[float, float]
    """Median and 99th percentile, from the image to its last alert."""

    @classmethod
    def of(cls, name: str, night: Night) -> Summary:
        """Sum a night up."""
        waited = np.array([visit.started - visit.announced for visit in night.visits if visit.started >= 0])
        took = np.array([visit.alerted - visit.image for visit in night.visits if visit.alerted >= 0])
        lost = sum(bool(visit.lost) for visit in night.visits)
        return cls(
            name,
            len(night.visits),
            lost,
            int(np.sum(took > LATE_S)),
            max(sample.pods for sample in night.samples),
            night.pods_made,
            night.pod_seconds / 3600,
            night.busy_seconds / max(night.pod_seconds, 1.0),
            (float(np.median(waited)), float(np.percentile(waited, 99))),
            (float(np.median(took)), float(np.percentile(took, 99))),
        )


def table(summaries: Sequence[Summary], price: float, markdown: bool = False) -> Table | str:
    """Make a table, one row a night."""
    heads = [
        "",
        "most pods",
        "pods made",
        "pod hours",
        "busy",
        "queue",
        "to last alert",
        "late",
        "lost",
        "cost",
    ]
    rows = [
        [
            each.name,
            str(each.most_pods),
            str(each.pods_made),
            f"{each.pod_hours:.0f}",
            f"{100 * each.busy:.0f} %",
            f"{each.queue_s[0]:.1f}, {each.queue_s[1]:.0f} s",
            f"{each.alert_s[0]:.0f}, {each.alert_s[1]:.0f} s",
            _share(each.late, each.visits),
            _share(each.lost, each.visits),
            f"{each.pod_hours * price:.0f}",
        ]
        for each in summaries
    ]
    if markdown:
        lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
        return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
    made = Table(
        caption="Pairs are the median and the 99th percentile; late: more than 60 s to the last alert."
    )
    for head in heads:
        made.add_column(head, justify="left" if not head else "right")
    for row in rows:
        made.add_row(*row)
    return made


def _share(part: int, whole: int) -> str:
    if part == 0:
        return "0"
    return f"{100 * part / whole:.2g} %" if part < whole else "all"


def draw_course(nights: Sequence[tuple[str, Night]], pause: tuple[float, float], path: Path) -> None:
    """Draw the pods at the beginning of the night and around its long pause."""
    figure, axes = plt.subplots(
        len(nights), 2, figsize=(10, 2.6 * len(nights)), sharey=True, layout="constrained", squeeze=False
    )
    spans = ((0.0, 600.0), (pause[0] - 300.0, pause[0] + pause[1] + 600.0))
    for row, (name, night) in zip(axes, nights, strict=True):
        for axis, span in zip(row, spans, strict=True):
            samples = [each for each in night.samples if span[0] <= each.now <= span[1]]
            minutes = [each.now / 60 for each in samples]
            axis.fill_between(
                minutes, [each.pods for each in samples], color="#d0d7de", label="pods", step="post"
            )
            axis.fill_between(
                minutes, [each.busy for each in samples], color="#4393c3", label="busy", step="post"
            )
            axis.plot(
                minutes, [each.waiting for each in samples], color="#b2182b", lw=1, label="visits waiting"
            )
        row[0].set_title(f"{name}: from nothing", fontsize=10)
        row[1].set_title("a pause of 40 minutes", fontsize=10)
        row[0].set_ylabel("pods, visits")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("minutes into the night")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_limits(
    limits: Mapping[str, Sequence[tuple[int, Summary]]],
    delays: Mapping[str, Sequence[tuple[float, Summary]]],
    underway: float,
    path: Path,
) -> None:
    """Draw what the limit of pods, and how long idle ones stay, does to visits and cost.

    Parameters
    ----------
    limits : `~collections.abc.Mapping` [`str`, `~collections.abc.Sequence`]
        Nights by the limit of pods, for each scaler.
    delays : `~collections.abc.Mapping` [`str`, `~collections.abc.Sequence`]
        Nights by how long idle pods stay (s), for each scaler.
    underway : `float`
        Visits underway, on average.
    path : `~pathlib.Path`
        Of the picture.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for name, points in limits.items():
        pods = [limit for limit, _ in points]
        bad = [100 * (each.late + each.lost) / each.visits for _, each in points]
        left.plot(pods, bad, marker="o", ms=4, label=name)
    left.set_xlabel("most pods that are allowed")
    left.set_ylabel("late or lost visits (%)")
    left.set_xscale("log")
    left.xaxis.set_major_locator(FixedLocator([20, 30, 50, 100, 200, 400]))
    left.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    left.xaxis.set_minor_locator(NullLocator())
    left.axvline(underway, color="grey", lw=0.8, ls=":")
    # In front of the line, whatever the scale.
    left.annotate(
        "visits underway, on average",
        (underway, 50),
        (-4, 0),
        textcoords="offset points",
        rotation=90,
        ha="right",
        va="center",
        fontsize=8,
        color="grey",
    )
    left.legend(fontsize=8)
    _draw_delays(right, delays)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_delays(axis: Axes, delays: Mapping[str, Sequence[tuple[float, Summary]]]) -> None:
    twin = axis.twinx()
    for name, points in delays.items():
        minutes = [delay / 60 for delay, _ in points]
        (line,) = axis.plot(minutes, [each.pod_hours for _, each in points], marker="o", ms=4, label=name)
        made = [each.pods_made for _, each in points]
        twin.plot(minutes, made, marker="s", ms=3, ls="--", color=line.get_color())
    axis.set_xlabel("minutes that idle pods stay")
    axis.set_ylabel("pod hours (full lines)")
    twin.set_ylabel("pods made (dashed)")
    twin.set_yscale("log")
    axis.set_ylim(0)
    axis.legend(fontsize=8, loc="upper center")
