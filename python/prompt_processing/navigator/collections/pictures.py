"""Figures of a place as HTML: a grid, pairs, or pictures that blink. All text from data is escaped."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence

from prompt_processing.repository.plots.kinds import Place, PlotRef
from prompt_processing.repository.plots.metrics import MetricDifference

from ..text import escaped, number, table

__all__ = ["STYLE", "Compared", "compare", "figure", "figures", "metric_table", "only_in_one"]

Compared = tuple[PlotRef | None, PlotRef | None]
"""The same figure of two collections; `None` where one has none."""

STYLE = """
.figures { display: grid; gap: 10px; align-items: start; }
figure { margin: 0; border: 1px solid #d0d7de; border-radius: 4px; padding: 4px; min-width: 0; }
figure img { width: 100%; height: auto; display: block; }
figure.large img { width: auto; max-width: 100%; margin: 0 auto; }
figcaption { font-size: 12px; overflow-wrap: anywhere; padding: 2px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 4px; }
.absent { padding: 24px 8px; text-align: center; color: #45505c; background: #f3f5f7; }
.blink { position: relative; }
.blink img + img { position: absolute; inset: 0; animation: turn 1.4s steps(1) infinite; background: #fff; }
@keyframes turn { 0% { opacity: 1; } 50% { opacity: 0; } }
.badge { background: #14202b; color: #fff; border-radius: 3px; padding: 0 5px; margin-left: 4px; }
.side { font-weight: 600; }
@media (prefers-reduced-motion: reduce) { .blink img + img { animation-duration: 4s; } }
@media (max-width: 640px) { .figures { grid-template-columns: 1fr !important; } }
"""


def compare(first: Sequence[PlotRef], second: Sequence[PlotRef]) -> list[Compared]:
    """Pair the figures of two collections by kind and data ID, in the order of the first one."""
    others = {one.key: one for one in second}
    pairs: list[Compared] = [(one, others.pop(one.key, None)) for one in first]
    return [*pairs, *((None, one) for one in others.values())]


def figure(
    pair: Compared,
    mode: str,
    names: tuple[str, str],
    content: Callable[[int, PlotRef], tuple[bytes, str]],
    place: Place = (),
    *,
    address: str = "",
    badge: str = "",
    large: bool = False,
) -> str:
    """Return one figure of one or two collections.

    Parameters
    ----------
    pair
        The figure in the collections.
    mode
        ``single`` or one of ``side``, ``blink``, ``first``, ``second``.
    names
        Names of the collections.
    content
        Returns the bytes and the media type of a figure of the first (0) or second (1) collection; it raises
        `LookupError` where there is none.
    place
        Dimensions that the caption leaves out.
    address
        Where a click leads; empty for nowhere.
    badge
        HTML behind the caption.
    """
    shown = pair[0] or pair[1]
    if shown is None:
        return ""
    rest = [f"{name} {value}" for name, value in shown.data_id if name not in _left_out(place)]
    caption = escaped(", ".join((shown.kind, *rest)))
    if address:
        caption = f'<a href="{escaped(address, 4000)}">{caption}</a>'
    sides = [_picture(number, one, names[number], content) for number, one in enumerate(pair)]
    match mode:
        case "side":
            labels = [f'<div><div class="side">{escaped(names[i])}</div>{sides[i]}</div>' for i in (0, 1)]
            body = f'<div class="pair">{"".join(labels)}</div>'
        case "blink" if None not in pair:
            body = f'<div class="blink">{sides[1]}{sides[0]}</div>'
        case "second":
            body = sides[1]
        case "blink":
            body = sides[0] if pair[0] is not None else sides[1]
            caption += f" <small>only in {escaped(names[0] if pair[0] is not None else names[1])}</small>"
        case _:
            body = sides[0]
    kind = ' class="large"' if large else ""
    return f"<figure{kind}>{body}<figcaption>{caption}{badge}</figcaption></figure>"


def figures(items: Sequence[str], columns: int) -> str:
    """Return figures in a grid, one column where the screen is narrow."""
    style = f"grid-template-columns: repeat({int(columns)}, minmax(0, 1fr))"
    return f'<div class="figures" style="{style}">{"".join(items)}</div>'


def only_in_one(pairs: Sequence[Compared], names: tuple[str, str], addresses: Mapping[str, str]) -> str:
    """Return lists of the figures that only one of two collections has.

    Parameters
    ----------
    addresses
        Address of the page of a kind, by its name.
    """
    parts = []
    for side, name in enumerate(names):
        alone = [pair[side] for pair in pairs if pair[1 - side] is None]
        items = "".join(
            f'<li><a href="{escaped(addresses.get(one.kind, ""), 4000)}">{escaped(one.kind)}</a> '
            f"<small>{escaped(', '.join(f'{key} {value}' for key, value in one.data_id))}</small></li>"
            for one in alone
            if one is not None
        )
        parts.append(
            f"<h2>Only in {escaped(name)}: {len(alone)}</h2>" + (f"<ul>{items}</ul>" if items else "")
        )
    return "".join(parts)


def metric_table(differences: Sequence[MetricDifference], names: tuple[str, str]) -> str:
    """Return a table of the metrics of two collections."""
    if not differences:
        return "<p>Neither collection has metrics of this place.</p>"
    rows = [
        [
            escaped(one.name),
            escaped(one.unit),
            *(escaped(number(value, 6)) for value in (one.first, one.second, one.difference)),
            escaped(f"{100 * one.share:+.3g} %" if math.isfinite(one.share) else "–"),
        ]
        for one in differences
    ]
    head = ("metric", "unit", *names, "difference", "share")
    return table(head, rows, "Metrics, those that differ most first")


def _left_out(place: Place) -> set[str]:
    return {"instrument", "skymap", *(name for name, _ in place)}


def _picture(
    number: int,
    ref: PlotRef | None,
    name: str,
    content: Callable[[int, PlotRef], tuple[bytes, str]],
) -> str:
    if ref is None:
        return f'<div class="absent">not in {escaped(name)}</div>'
    try:
        data, media_type = content(number, ref)
    except LookupError as error:
        return f'<div class="absent">{escaped(error.args[0] if error.args else error)}</div>'
    text = base64.b64encode(data).decode("ascii")
    label = escaped(f"{ref.kind} of {name}")
    return f'<img src="data:{media_type};base64,{text}" alt="{label}">'
