"""Show alerts: many as a table, one as a tree."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from prompt_processing.alerts.reading import CUTOUTS

__all__ = ["alert_row", "as_json", "show_alert", "show_table", "source_ids", "write_cutouts"]

_COLUMNS = (
    "diaSourceId", "visit", "detector", "ra", "dec", "band", "psfFlux [nJy]", "S/N", "reliability", "object",
    "earlier", "forced",
)  # fmt: skip
_LEFT = ("band", "object")


def alert_row(alert: Mapping[str, Any]) -> tuple[str, ...]:
    """Return an alert's row of the table, as text."""
    source = alert.get("diaSource") or {}
    return (
        str(source.get("diaSourceId", alert.get("diaSourceId", "?"))),
        _text(source.get("visit")),
        _text(source.get("detector")),
        _number(source.get("ra"), ".6f"),
        _number(source.get("dec"), ".6f"),
        _text(source.get("band")),
        _flux(source),
        _number(source.get("snr"), ".1f"),
        _number(source.get("reliability"), ".2f"),
        _object(source),
        str(len(alert.get("prvDiaSources") or ())),
        str(len(alert.get("prvDiaForcedSources") or ())),
    )


def source_ids(alert: Mapping[str, Any]) -> set[int]:
    """Return the ids that select an alert: its own and its source's."""
    return {
        int(record["diaSourceId"])
        for record in (alert, alert.get("diaSource") or {})
        if record.get("diaSourceId") is not None
    }


def show_table(console: Console, rows: Sequence[Sequence[str]]) -> None:
    """Print a table of alerts, from rows that `alert_row` returned."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"{len(rows)} alerts")


def show_alert(console: Console, alert: Mapping[str, Any], where: str) -> None:
    """Print one alert as a tree, without null fields.

    Parameters
    ----------
    console
        Console to print to.
    alert
        Fields of the alert, by the names of its schema.
    where
        Where the alert was found.
    """
    tree = Tree(Text(f"alert {alert.get('diaSourceId', '?')}  {where}", style="bold"))
    _grow(tree, alert)
    console.print(tree)


def as_json(value: Any) -> Any:
    """Convert a value of an alert to JSON: FITS files in base 64, and null for NaN."""
    if isinstance(value, Mapping):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def write_cutouts(alert: Mapping[str, Any], folder: Path) -> int:
    """Write the cutouts of an alert, ``<diaSourceId>_science.fits`` and so on; return their number."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for name in CUTOUTS:
        content = alert.get(name)
        # Schemas before version 4 wrap the file in a record with its name.
        content = content.get("stampData") if isinstance(content, Mapping) else content
        if isinstance(content, bytes):
            kind = name.removeprefix("cutout").lower()
            (folder / f"{int(alert['diaSourceId'])}_{kind}.fits").write_bytes(content)
            number += 1
    return number


def _grow(branch: Tree, record: Mapping[str, Any]) -> None:
    for name, value in record.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            _grow(branch.add(Text(name, style="cyan")), value)
        elif isinstance(value, list):
            items = branch.add(Text(f"{name}: {len(value)}", style="cyan"))
            for item in value:
                items.add(Text(_history(item)))
        elif isinstance(value, bytes):
            branch.add(Text(f"{name}: {len(value)} bytes (--cutouts writes FITS files)"))
        else:
            branch.add(Text(f"{name}: {value}"))


def _history(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    when = f"MJD {_number(item.get('midpointMjdTai'), '.5f')} {_text(item.get('band'))}"
    return f"{when}  psfFlux {_flux(item)} nJy"


def _flux(record: Mapping[str, Any]) -> str:
    if record.get("psfFlux") is None:
        return ""
    return f"{_number(record['psfFlux'], '.0f')} ± {_number(record.get('psfFluxErr'), '.0f')}"


def _object(source: Mapping[str, Any]) -> str:
    for kind in ("ssObjectId", "diaObjectId"):
        if source.get(kind):
            return f"{kind.removesuffix('ObjectId')} {source[kind]}"
    return ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _number(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)
