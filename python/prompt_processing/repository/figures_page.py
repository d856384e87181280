"""Pieces of an HTML page of figures and pictures that needs no other file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PICTURES = 60
"""Maximum number of pictures on a page."""

_WIDTH = 400

_STYLE = """
body { font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; } td, th { padding: .2em .8em; text-align: left; }
tr:nth-child(even) { background: #f3f3f3; } .bad { color: #b00; font-weight: bold; }
figure { display: inline-block; margin: .5em; } figcaption { font-size: 13px; }
"""


def write_html(path: Path, title: str, parts: Iterable[str]) -> None:
    """Write a page of parts, each of which is HTML."""
    head = (
        '<!doctype html><html lang="en"><meta charset=utf-8>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
    )
    path.write_text(head + "\n".join(parts), encoding="utf-8")


def table(names: Sequence[str], rows: Iterable[Sequence[object]], bad: Collection[int] = ()) -> str:
    """Return a table.

    Parameters
    ----------
    names
        Headings.
    rows
        Cells; they are escaped.
    bad
        Numbers of the rows that stand out, from 0.
    """
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr{' class=bad' if number in bad else ''}>"
        + "".join(f"<td>{html.escape(str(value))}</td>" for value in row)
        + "</tr>"
        for number, row in enumerate(rows)
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def picture(figure: Figure, caption: str) -> str:
    """Return a figure as part of the page."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=80)
    code = base64.b64encode(data.getvalue()).decode()
    return (
        f'<figure><img src="data:image/png;base64,{code}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def binned(plane: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return means of squares of pixels; NaN where a square has a pixel without a value."""
    step = max(plane.shape[1] // _WIDTH, 1)
    rows, columns = plane.shape[0] // step, plane.shape[1] // step
    cut = plane[: rows * step, : columns * step].reshape(rows, step, columns, step)
    return np.asarray(np.mean(cut, axis=(1, 3), dtype=np.float64))
