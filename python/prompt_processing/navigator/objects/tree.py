"""An alert packet as a tree that opens and closes, as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..text import escaped, number

__all__ = ["tree"]

_MOST_ITEMS = 200
_DEEPEST = 6


def tree(record: Mapping[str, Any], depth: int = 0) -> str:
    """Return a record as nested lists; fields without a value are left out."""
    if depth > _DEEPEST:
        return "…"
    items = []
    for name, value in list(record.items())[:_MOST_ITEMS]:
        label = escaped(name)
        if value is None:
            continue
        if isinstance(value, Mapping):
            items.append(f"<li><details><summary>{label}</summary>{tree(value, depth + 1)}</details></li>")
        elif isinstance(value, list):
            inner = "".join(_item(place, one, depth) for place, one in enumerate(value[:_MOST_ITEMS]))
            items.append(
                f"<li><details><summary>{label}: {len(value)}</summary><ul>{inner}</ul></details></li>"
            )
        elif isinstance(value, bytes):
            items.append(f"<li>{label}: {len(value)} bytes</li>")
        else:
            items.append(f"<li>{label}: {escaped(number(value, 9))}</li>")
    return f"<ul>{''.join(items)}</ul>"


def _item(place: int, value: Any, depth: int) -> str:
    if isinstance(value, Mapping):
        when = number(value.get("midpointMjdTai"), 10)
        flux = number(value.get("psfFlux"))
        return (
            f"<li><details><summary>{place}: MJD {escaped(when)}, {escaped(flux)} nJy</summary>"
            f"{tree(value, depth + 1)}</details></li>"
        )
    return f"<li>{escaped(value)}</li>"
