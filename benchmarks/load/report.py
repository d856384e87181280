"""The tables and the plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

from .figures import Measured

NEEDED_PER_SECOND = 189 / 37
"""Visit-detectors a second of a full camera."""

_BEGIN, _END = "<!-- measured -->", "<!-- end of measured -->"

_ROWS = (
    ("statements_workers", "statements of the worker on the central database"),
    ("statements_writer", "statements of the writer"),
    ("database_ms_workers", "database's time for the worker, ms"),
    ("database_ms_writer", "database's time for the writer, ms"),
    ("s3_requests", "requests to the object store"),
    ("s3_put_kib", "written to the object store, KiB"),
    ("messages", "messages read"),
    ("worker_cpu_s", "CPU of the worker, s"),
    ("per_second", "visit-detectors a second, sustained"),
)


def show(measured: Measured, console: Console) -> None:
    """Print all tables."""
    for table in tables(measured):
        console.print(table)
    missed = [figure.what for figure in measured.figures if figure.met is False]
    targets = [figure for figure in measured.figures if figure.target is not None]
    console.print(f"{len(targets) - len(missed)} of {len(targets)} targets met.", style="bold")
    for what in missed:
        console.print(f"  missed: {what}", style="red")
    machine = measured.machine
    console.print(
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, load before "
        f"{machine['load_before']}. Wall times mean little on a machine that does something else as well."
    )


def tables(measured: Measured) -> list[Table]:
    """Make the tables of targets, of peers and of growth."""
    targets = Table("what", "measured", "target", title="Targets")
    for figure in measured.figures:
        verdict = ""
        if figure.target is not None:
            sign = "≥" if figure.at_least else "≤"
            verdict = f"{sign} {figure.target:g} {figure.unit} {'met' if figure.met else 'MISSED'}"
        targets.add_row(figure.what, f"{number(figure.value)} {figure.unit}", verdict)
    peers = Table("what", "ours", "the peer's", "peer", "gain", title="Beside another way, in the same run")
    for ratio in measured.ratios:
        gain = f"{ratio.gain:.1f}×" if ratio.gain < 1e6 else "all of it"
        peers.add_row(
            ratio.what,
            f"{number(ratio.ours)} {ratio.unit}",
            f"{number(ratio.theirs)} {ratio.unit}",
            ratio.peer,
            gain,
        )
    growth = Table("a visit-detector", title="From a few detectors to all")
    for row in measured.growth:
        pace = f"every {row['cadence']:g} s" if row["cadence"] else "as fast as it goes"
        growth.add_column(f"{row['detectors']:.0f} detectors, {row['visits']:.0f} visits, {pace}")
    for name, words in _ROWS if measured.growth else ():
        growth.add_row(words, *(number(row[name]) if name in row else "" for row in measured.growth))
    return [table for table in (targets, peers, growth) if table.row_count]


def number(value: float) -> str:
    """Write a number with three digits that mean something."""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def markdown(measured: Measured) -> str:
    """Write the tables as in the documentation."""
    parts = []
    for table in tables(measured):
        columns = [list(column.cells) for column in table.columns]
        heads = [str(column.header) for column in table.columns]
        lines = [f"**{table.title}**", "", _line(heads), _line(["---"] * len(heads))]
        lines += [_line([str(cell) for cell in row]) for row in zip(*columns, strict=True)]
        parts.append("\n".join(lines))
    machine = measured.machine
    parts.append(
        f"{machine['date']}: {machine['cores']} cores of {machine['processor']}, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}; "
        f"load before the run {machine['load_before']}."
    )
    return "\n\n".join(parts) + "\n"


def update_document(measured: Measured, path: Path) -> None:
    """Put the tables into a page, between the two marks that are for them."""
    head, _, rest = path.read_text().partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    path.write_text(f"{head}{_BEGIN}\n\n{markdown(measured)}\n{_END}{tail}")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plot_growth(measured: Measured, path: Path) -> None:
    """Draw how what a visit-detector costs grows with the detectors."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = sorted((row for row in measured.growth if not row["cadence"]), key=lambda row: row["detectors"])
    if len(rows) < 2:
        return
    detectors = [row["detectors"] for row in rows]
    # The rate measured on a busy machine is meaningless.
    quiet = measured.machine["load_before"] < measured.machine["cores"]
    panels: list[tuple[str, tuple[str, ...]]] = [
        ("statements on the central database", ("statements_workers", "statements_writer")),
        ("requests to the store, messages read", ("s3_requests", "messages")),
    ]
    if quiet:
        panels.append(("visit-detectors a second", ("per_second",)))
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.6), layout="constrained")
    for panel, (title, names) in zip(axes, panels, strict=True):
        for name in names:
            label = name.replace("statements_", "").replace("s3_", "").replace("_", " ")
            panel.plot(detectors, [row[name] for row in rows], "o-", label=label)
        panel.set(title=title, xlabel="detectors", ylim=(0, None))
        if len(names) > 1:
            panel.legend()
    if quiet:
        axes[-1].axhline(NEEDED_PER_SECOND, color="grey", ls="--")
        where = (detectors[0], NEEDED_PER_SECOND)
        axes[-1].annotate("a full camera every 37 s", where, va="bottom", fontsize=8)
    figure.suptitle("One visit-detector, on one machine")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
