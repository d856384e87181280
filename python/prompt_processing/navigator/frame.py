"""What all pages have around their view: heading, links to the other views, style, scripts and keys."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from panel.io.resources import parse_template

__all__ = ["CONTENT_STYLE", "STATIC_FOLDER", "bottom", "head", "script_address", "template"]

STATIC_FOLDER = Path(__file__).parent / "static"

CONTENT_STYLE = """
:host {
  font: 14px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  color: #1b1f24;
}
h1 { font-size: 20px; font-weight: 600; margin: 6px 0; }
h2 { font-size: 16px; font-weight: 600; margin: 14px 0 4px; }
p { margin: 4px 0; }
a { color: #0b5cad; }
a:focus-visible { outline: 3px solid #e69f00; }
table { border-collapse: collapse; margin: 8px 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 2px 0; }
.scrolled { overflow-x: auto; content-visibility: auto; contain-intrinsic-size: auto 400px; }
.scrolled table { min-width: max-content; }
.scrolled td { max-width: 60ch; overflow-wrap: anywhere; }
.scrolled:focus-visible { outline: 3px solid #e69f00; }
th, td { text-align: left; padding: 3px 12px 3px 0; border-bottom: 1px solid #e4e8ec; vertical-align: top; }
th { font-weight: 600; color: #45505c; }
tr:hover td { background: #f3f7fb; }
dl.facts { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 6px 0; }
dl.facts div { display: flex; flex-direction: column; }
dl.facts dt { font-size: 12px; color: #5b6875; }
dl.facts dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.message { border-left: 5px solid #e69f00; background: #fff7e6; padding: 4px 10px; overflow-wrap: anywhere; }
small { color: #5b6875; }
.months { display: flex; flex-wrap: wrap; gap: 4px 28px; }
table.month td, table.month th { border: 0; padding: 1px 6px; text-align: right; color: #5b6875; }
td.night a { display: block; padding: 0 4px; border-radius: 3px; background: #dcebf9; font-weight: 600; }
td.night a { text-decoration: none; }
td.night a[aria-current] { background: #0b5cad; color: #fff; }
.epochs { display: flex; flex-wrap: wrap; gap: 10px 18px; }
figure { margin: 0; }
figure img { margin-right: 2px; background: #16202a; }
figcaption { font-size: 12px; }
ul { margin: 2px 0 2px 18px; padding: 0; }
details summary { cursor: pointer; }
.chip { display: inline-block; min-width: 12px; padding: 0 5px; border-radius: 3px; margin-right: 6px; }
"""
"""Style of all HTML of views, in shadow trees (``:host``)."""


def head(title: str, name: str, views: Sequence[tuple[str, str]], more_style: str = "") -> str:
    """Return a page until the place of its view.

    Parameters
    ----------
    title, name
        Of the view.
    views
        Names and titles of all views.
    more_style
        Style of the view.
    """
    return template("head.html").render(title=title, views=views, current=name, style=_style() + more_style)


def bottom(keys: Mapping[str, str]) -> str:
    """Return the lines at the bottom of a page: what the cursor is on, and the meaning of the keys."""
    return template("bottom.html").render(keys=dict(keys), key_groups=_groups(keys))


@cache
def template(name: str) -> Any:
    """Return a compiled template, which escapes what is not HTML yet."""
    return parse_template((STATIC_FOLDER / name).read_text("utf-8"))


@cache
def script_address(script: str) -> str:
    """Return the address of a script, which changes with its content, so that browsers may keep it."""
    return f"assets/{script}?v={hashlib.sha256((STATIC_FOLDER / script).read_bytes()).hexdigest()[:16]}"


@cache
def _style() -> str:
    """Return the pages' style, which is written into them: nothing is painted before it is there."""
    return (STATIC_FOLDER / "navigator.css").read_text("utf-8")


def _groups(keys: Mapping[str, str]) -> dict[str, list[str]]:
    """Return how the keys are called, by their meaning."""
    arrows = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓"}
    groups: dict[str, list[str]] = {}
    for key, meaning in keys.items():
        groups.setdefault(meaning, []).append(arrows.get(key, key))
    return groups
