"""Go the whole way, compare it with the truth, and leave a page of it."""

from __future__ import annotations

import logging
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from prompt_processing.demo.goals import Goal
from prompt_processing.demo.progress import Progress
from prompt_processing.instruments import load_camera

from .page import write_way
from .score import goals_of_way, score_way
from .story import go_the_way

__all__ = ["demonstrate_raws"]


def demonstrate_raws(
    output: Path,
    like: str,
    console: Console,
    *,
    seed: int = 1,
    miniature: tuple[int, int] | None = None,
    n_tonight: int = 2,
) -> list[Goal]:
    """Show the way from raw frames to alerts.

    Parameters
    ----------
    output
        Empty folder for all files.
    like
        Instrument with the optics and electronics of the camera.
    console
        Where progress and results are printed.
    seed, miniature, n_tonight
        See `~prompt_processing.simulation.observatory.simulate_observatory`; by default the detector has half
        the columns and rows.

    Returns
    -------
    goals
        What each step should reach, and whether it did.

    Raises
    ------
    ProcessFailedError
        Raised if a command fails.
    """
    # It names the stack's types, which are not needed: the images are read as types of this package.
    logging.getLogger("lsst.daf.butler._storage_class").setLevel(logging.ERROR)
    progress = Progress(console)
    if miniature is None:
        detector = next(iter(load_camera(like).detectors.values()))
        miniature = (detector.width // 2, detector.height // 2)
    way = go_the_way(output, like, progress, seed=seed, miniature=miniature, n_tonight=n_tonight)
    with progress.step("Comparing with the truth, drawing pictures"):
        score = score_way(way)
        goals = goals_of_way(way, score)
        # matplotlib takes a second to import.
        from .pictures import draw_way

        page = write_way(way, score, goals, draw_way(way, score))
    table = Table("", "step", "reached", "limit", box=box.SIMPLE_HEAD)
    for goal in goals:
        mark = "[green]✓[/green]" if goal.met else "[red]✗[/red]"
        table.add_row(mark, escape(goal.name), goal.reached, goal.limit)
    console.print(table)
    console.print(f"Look at {page}. The demo took {progress.seconds:.0f} s.", soft_wrap=True, highlight=False)
    return goals
