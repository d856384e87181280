"""Print lines, visits and summaries of a log."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from .log_lines import LEVELS, LogLine
from .visit_log import VisitLog, numbers_of

_COLOUR = {"processed": "green", "skipped": "cyan", "stale": "yellow", "retriable": "yellow"}
_LEVEL_COLOUR = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red", "DEBUG": "dim", "TRACE": "dim"}
_BAR = 24
"""Width of the longest stage's bar, characters."""


def show_line(console: Console, line: LogLine) -> None:
    """Print one line: time, level, visit and message.

    Parameters
    ----------
    console
        Console to print to; it decides whether to use colours.
    line
        The line.
    """
    if not line.is_ours:
        console.print(Text(f"| {line.text}", style="dim"), soft_wrap=True)
        return
    when = "--:--:--.---" if line.time is None else line.time.strftime("%H:%M:%S.%f")[:-3]
    text = Text(f"{when} ")
    text.append(f"{line.level:8}", style=_LEVEL_COLOUR.get(line.level, ""))
    if line.visit is not None:
        text.append(f" {line.group}/{line.detector}", style="blue")
    text.append(f" {line.text}")
    console.print(text, soft_wrap=True)
    if line.traceback:
        console.print(Text(line.traceback, style="dim"), soft_wrap=True)


def show_visit(console: Console, visit: VisitLog, *, least_level: str = "WARNING") -> None:
    """Print a visit: its outcome, the time of each stage, and its warnings.

    Parameters
    ----------
    console
        Console to print to.
    visit
        The visit.
    least_level
        Lowest level of messages to show.
    """
    colour = _COLOUR.get(visit.status, "red")
    title = Text()
    if visit.begin is not None:
        title.append(f"{visit.begin:%Y-%m-%d %H:%M:%S} ", style="dim")
    title.append(f"{visit.instrument} {visit.group} detector {visit.detector} ")
    title.append(visit.status, style=f"bold {colour}")
    tree = Tree(title)
    outcome = visit.outcome or {}
    if outcome.get("reason"):
        tree.add(Text(str(outcome["reason"])))
    if outcome.get("retry"):
        tree.add(Text(f"a retry is {outcome['retry']}", style="yellow"))
    _add_times(tree, visit)
    counts = numbers_of(visit.outcome, "counts")
    if counts:
        tree.add(Text(", ".join(f"{name} {value:g}" for name, value in counts.items())))
    for line in visit.lines:
        if line.outcome is None and line.severity >= LEVELS[least_level]:
            message = Text(f"{line.level} {line.text}", style=_LEVEL_COLOUR.get(line.level, ""))
            if line.traceback:
                message.append(f"\n{line.traceback}", style="dim")
            tree.add(message)
    console.print(tree)


def _add_times(tree: Tree, visit: VisitLog) -> None:
    stages, tasks = numbers_of(visit.outcome, "stages"), numbers_of(visit.outcome, "tasks")
    delay = (visit.outcome or {}).get("arrival_to_alert")
    if stages:
        total = sum(stages.values())
        node = tree.add(Text(f"{total:.3f} s in all"))
        longest = max([*stages.values(), 1e-9])
        for name, seconds in stages.items():
            branch = node.add(_time(name, seconds, longest))
            if name == "pipeline":
                for label, task_seconds in tasks.items():
                    branch.add(_time(label, task_seconds, longest))
    if isinstance(delay, int | float):
        tree.add(Text(f"{delay:.3f} s from the image's arrival to the last alert"))


def _time(name: str, seconds: float, longest: float) -> Text:
    text = Text(f"{name:26} {seconds:9.3f} s ")
    text.append("█" * max(0, min(_BAR, round(_BAR * seconds / longest))), style="blue")
    return text


def show_summary(console: Console, ends: dict[str, int]) -> None:
    """Print the number of visits by outcome.

    Parameters
    ----------
    console
        Console to print to.
    ends
        Number of visits by status.
    """
    told = ", ".join(f"{number} {status}" for status, number in sorted(ends.items()))
    console.print(Text(f"{sum(ends.values())} visit(s): {told or 'none'}", style="bold"))
