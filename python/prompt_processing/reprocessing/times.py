"""How long the tasks of two processings took."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import pandas as pd
from lsst.daf.butler import Butler

from .outputs import refs_of_images

__all__ = ["COLUMNS", "compare_times", "quantum_times", "read_times"]

COLUMNS = ["visit", "detector", "task", "seconds", "cpu_seconds"]
_SUFFIX = "_metadata"
_MOST = 500
"""Quanta of a task that are read, the earliest ones: their times differ little."""


def quantum_times(metadata: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return wall clock and processor seconds from a task's metadata; `None` if it does not have them."""
    quantum = metadata.get("quantum", {})
    try:
        begin, end = (datetime.fromisoformat(_first(quantum[name])) for name in ("prepUtc", "endUtc"))
        cpu = float(_first(quantum["endCpuTime"])) - float(_first(quantum["prepCpuTime"]))
    except (KeyError, TypeError, ValueError):
        return None
    return (end - begin).total_seconds(), cpu


def read_times(
    butler: Butler, collection: str | Collection[str], instrument: str, visits: Collection[int]
) -> pd.DataFrame:
    """Read the times of the tasks of each visit-detector.

    Parameters
    ----------
    butler
        The repository.
    collection
        Chain or runs of the processing.
    instrument
        Camera.
    visits
        Ids, which are also those of their first exposures.

    Returns
    -------
    table
        Rows of `COLUMNS`.
    """
    names = {
        name
        for info in butler.collections.query_info(collection, flatten_chains=True, include_summary=True)
        for name in info.dataset_types or ()
        if name.endswith(_SUFFIX)
    }
    rows = []
    for name in sorted(names):
        required = butler.get_dataset_type(name).dimensions.required
        if "detector" not in required or not {"visit", "exposure"} & set(required):
            continue
        dimension = "visit" if "visit" in required else "exposure"
        refs = refs_of_images(butler, name, collection, instrument, visits, dimension, _MOST)
        for ref in refs:
            if (found := quantum_times(butler.get(ref).to_dict())) is not None:
                place = int(ref.dataId[dimension]), int(ref.dataId["detector"])
                rows.append((*place, name.removesuffix(_SUFFIX), *found))
    return pd.DataFrame(rows, columns=COLUMNS)


def compare_times(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return medians over the visit-detectors that both have.

    Parameters
    ----------
    first, second
        As from `read_times`.

    Returns
    -------
    table
        ``task``, ``quanta``, and for both ``seconds`` and ``cpu_seconds``; the last row, ``all``, has the
        medians of the sums over the tasks that both have of a visit-detector.
    """
    keys = ["visit", "detector", "task"]
    both = first.drop_duplicates(keys).merge(
        second.drop_duplicates(keys), on=keys, suffixes=("_first", "_second")
    )
    values = ["seconds_first", "seconds_second", "cpu_seconds_first", "cpu_seconds_second"]
    tasks = both.groupby("task", sort=True)[values].median()
    tasks.insert(0, "quanta", both.groupby("task").size())
    sums = both.groupby(["visit", "detector"])[values].sum()
    if len(sums):
        tasks.loc["all"] = [len(sums), *sums.median()]
    return tasks.astype({"quanta": int}).reset_index()


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value
