"""Estimate what quanta cost, from those that were executed before."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef

__all__ = ["Cost", "cost_row", "earlier_cost"]

_SAMPLE = 20
"""Quanta that are looked at: their times differ by far less than from camera to camera."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one quantum.

    Attributes
    ----------
    cpu_seconds
        CPU time; `None` if no earlier quantum has one.
    bytes
        Size of its outputs; `None` if it has no earlier ones.
    """

    cpu_seconds: float | None
    bytes: int | None


def earlier_cost(butler: Butler, label: str, outputs: Iterable[str]) -> Cost:
    """Return the median cost of quanta of a task that the repository has.

    Parameters
    ----------
    butler
        The repository.
    label
        Label of the task.
    outputs
        Types of its outputs whose size counts.
    """
    seconds = [
        one
        for ref in _some(butler, f"{label}_metadata")
        if (one := cpu_seconds(butler.get(ref).to_dict())) is not None
    ]
    sizes: list[float] = []
    for name in outputs:
        if found := _some(butler, name):
            sizes.append(statistics.median(butler.getURI(ref).size() for ref in found))
    return Cost(statistics.median(seconds) if seconds else None, round(sum(sizes)) if sizes else None)


def cpu_seconds(metadata: Mapping[str, Any]) -> float | None:
    """Return the CPU time that a task's metadata record; `None` if they do not."""
    quantum = metadata.get("quantum", {})
    begin, end = (_first(quantum.get(name)) for name in ("prepCpuTime", "endCpuTime"))
    return None if begin is None or end is None else end - begin


def cost_row(what: str, quanta: int, cost: Cost, note: str = "") -> dict[str, object]:
    """Return a row of the table of a dry run; what is unknown is `None`."""
    return {
        "step": what,
        "quanta": quanta,
        "core hours": None if cost.cpu_seconds is None else round(quanta * cost.cpu_seconds / 3600, 6),
        "output bytes": None if cost.bytes is None else quanta * cost.bytes,
        "note": note,
    }


def _some(butler: Butler, name: str) -> list[DatasetRef]:
    """Return some datasets of a type, wherever they are."""
    from lsst.daf.butler import MissingDatasetTypeError

    try:
        return butler.query_datasets(name, collections="*", find_first=False, limit=_SAMPLE, explain=False)
    except MissingDatasetTypeError:
        return []


def _first(value: Any) -> float | None:
    one = value[0] if isinstance(value, list) and value else value
    return float(one) if isinstance(one, int | float) else None
