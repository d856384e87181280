"""The page of the way: each command with what it printed and made, and the comparison with the truth."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from prompt_processing.demo.goals import Goal
from prompt_processing.repository.figures_page import table, write_html

from .score import WayScore
from .story import Way

__all__ = ["write_way"]

_PAGES = {"calibrations build": "calibrations.html", "templates build": "templates.html"}


def write_way(way: Way, score: WayScore, goals: Sequence[Goal], pictures: Mapping[str, Path]) -> Path:
    """Write ``index.html`` and ``result.json``.

    Returns
    -------
    page
        The page.
    """
    parts = [
        "<h1>From raw frames to alerts</h1>",
        "<p>A simulated observatory with a camera that no package describes. Each step is one command; "
        "all of them ran in this folder.</p>",
    ]
    for ran in way.ran:
        parts.append(f"<h2><code>$ {html.escape(ran.line)}</code></h2>")
        if ran.output.strip():
            parts.append(f"<pre>{html.escape(ran.output.rstrip())}</pre>")
        for command, path in pictures.items():
            if ran.line.startswith(f"prompt {command}"):
                parts.append(_picture(way, path, command))
        parts += [
            f'<p><a href="{page}">All figures and pictures</a></p>'
            for command, page in _PAGES.items()
            if ran.line.startswith(f"prompt {command}")
        ]
    rows = [(goal.name, goal.reached, goal.limit, "yes" if goal.met else "no") for goal in goals]
    missed = [number for number, goal in enumerate(goals) if not goal.met]
    parts += [
        "<h2>Compared with the truth</h2>",
        table(("", "reached", "limit", "met"), rows, missed),
    ]
    if "score" in pictures:
        parts.append(_picture(way, pictures["score"], "Recovered and missed changes by magnitude"))
    page = way.root / "index.html"
    write_html(page, "From raw frames to alerts", parts)
    result = {
        # JSON has no NaN.
        "values": {name: value if math.isfinite(value) else None for name, value in score.values.items()},
        "images": {
            name: {
                "expected": one.n_expected,
                "recovered": one.n_recovered,
                "above": one.n_above,
                "spurious": one.n_spurious,
            }
            for name, one in score.nights.items()
        },
        "goals": [{"name": goal.name, "reached": goal.reached, "met": goal.met} for goal in goals],
    }
    (way.root / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return page


def _picture(way: Way, path: Path, caption: str) -> str:
    source = html.escape(str(path.relative_to(way.root)))
    return f'<p><img src="{source}" alt="{html.escape(caption)}" style="max-width: 100%"></p>'
