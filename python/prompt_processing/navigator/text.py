"""Text of pages: everything from data is escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

__all__ = ["escaped", "facts", "number", "sexagesimal", "table", "utc"]

_LONGEST = 400


def escaped(value: Any, longest: int = _LONGEST) -> str:
    """Return a value as text for HTML, also inside quotes; long text is cut."""
    text = str(value)
    if len(text) > longest:
        text = text[:longest] + "…"
    return html.escape(text, quote=True)


def number(value: Any, digits: int = 4) -> str:
    """Return a value for people: few digits, and a dash if there is none."""
    if value is None or value is np.ma.masked:
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value)
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            return "–"
        return f"{value:.{digits}g}"
    return str(value)


def facts(values: Mapping[str, Any]) -> str:
    """Return names and values as a list in HTML."""
    items = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(_measured(name, value))}</dd></div>"
        for name, value in values.items()
    )
    return f'<dl class="facts">{items}</dl>'


def _measured(name: str, value: Any) -> str:
    return number(value, 10 if "mjd" in name.lower() else 4)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """Return a table in HTML.

    Parameters
    ----------
    head
        Names of the columns.
    rows
        Cells, which are HTML already.
    caption
        Text above the table.
    """
    above = f"<caption>{escaped(caption)}</caption>" if caption else ""
    names = "".join(f'<th scope="col">{escaped(name)}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    content = f"<table>{above}<thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"
    # On a narrow screen the table moves, not the page; by keyboard, too.
    name = escaped(caption or "Table")
    return f'<div class="scrolled" tabindex="0" role="group" aria-label="{name}">{content}</div>'


def utc(seconds: float | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time; a dash if there is none."""
    if seconds is None or not math.isfinite(seconds) or not 0 <= seconds < 4e9:
        return "–"
    return datetime.fromtimestamp(seconds, UTC).strftime(form)


def sexagesimal(ra: float, dec: float) -> str:
    """Return a position in hours and degrees, minutes and seconds."""
    hours = ra / 15 % 24
    total = round(hours * 3600 * 100)
    h, rest = divmod(total, 360_000)
    m, s = divmod(rest, 6000)
    right = f"{h % 24:02d}:{m:02d}:{s / 100:05.2f}"
    arcsec = round(abs(dec) * 3600 * 10)
    d, rest = divmod(arcsec, 36_000)
    m, s = divmod(rest, 600)
    return f"{right} {'-' if dec < 0 else '+'}{d:02d}:{m:02d}:{s / 10:04.1f}"
