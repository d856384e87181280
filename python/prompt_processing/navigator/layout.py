"""Layouts that need no code from text in the browser, which the pages' content security policy forbids."""

from __future__ import annotations

from typing import Any

import panel as pn

from .frame import CONTENT_STYLE

__all__ = ["BUTTON", "FIT", "PREVIEW_STYLE", "checkbox", "column", "grid", "markup", "preview", "wrapped_row"]

# Panel asks for the sum of the widths of all that is inside, which a narrow screen does not have.
FIT = ":host { min-width: 0 !important; max-width: 100%; }"
"""Style of what is not wider than its place."""
_WRAP = ":host { flex-wrap: wrap; align-items: flex-start; }"
BUTTON = ".bk-btn { border: 1px solid #b8c0c8 !important; border-radius: 4px; background: #fff; }"
"""Style of small buttons, which are bare otherwise."""

PREVIEW_STYLE = (
    ":host { display: block; } .row { display: flex; flex-wrap: wrap; align-items: flex-start; } "
    ".row > div { min-width: 0; } .inputs { height: 58px; }"
)
"""Style of a preview, besides those of its panes."""


def column(*items: Any, **options: Any) -> pn.Column:
    """Return a column as wide as its place."""
    return pn.Column(*items, **{"sizing_mode": "stretch_width", "stylesheets": [FIT]} | options)


def wrapped_row(*items: Any, **options: Any) -> pn.Row:
    """Return a row whose items go on in the next line where the screen is narrow."""
    return pn.Row(*items, sizing_mode="stretch_width", stylesheets=[FIT, _WRAP], **options)


def grid(*items: Any, narrowest: int = 300) -> pn.Row:
    """Return items of equal width, beside each other while each has a width of ``narrowest`` pixels."""
    for item in items:
        item.styles = {**item.styles, "flex": f"1 1 {narrowest}px", "min-width": "0"}
    return wrapped_row(*items)


def markup(text: str = "", **options: Any) -> pn.pane.HTML:
    """Return a pane of HTML, whose text from data the caller has escaped, in the pages' style."""
    return pn.pane.HTML(
        text, **{"sizing_mode": "stretch_width", "stylesheets": [CONTENT_STYLE], "margin": (2, 6)} | options
    )


def checkbox(label: str, checked: bool, **options: Any) -> pn.widgets.CheckBoxGroup:
    """Return one checkbox; its ``value`` holds the label while it is checked.

    Panel's own single checkbox has its text beside the input, where a screen reader does not find it.
    """
    return pn.widgets.CheckBoxGroup(options=[label], value=[label] if checked else [], **options)


def preview(item: Any) -> str:
    """Return what a layout shows as HTML, with its styles, to look at until its models have arrived.

    Inputs leave an empty place; figures are left out.
    """
    styles: dict[str, None] = {}
    body = _preview(item, styles)
    return "".join(f"<style>{one}</style>" for one in styles) + body


def _preview(item: Any, styles: dict[str, None]) -> str:
    if not item.visible:
        return ""
    if isinstance(item, pn.pane.HTML):
        styles.update(dict.fromkeys(str(one) for one in item.stylesheets))
        return f'<div style="margin: 2px 6px">{item.object}</div>' if item.object else ""
    if not isinstance(item, pn.Row | pn.Column):
        return ""
    inside = "".join(_preview(one, styles) for one in item.objects)
    if isinstance(item, pn.Column):
        basis = item.styles.get("flex")
        return f'<div style="flex: {basis}">{inside}</div>' if basis else inside
    if any(isinstance(one, pn.widgets.WidgetBase) for one in item.objects):
        inside += '<div class="inputs"></div>'
    return f'<div class="row">{inside}</div>'
