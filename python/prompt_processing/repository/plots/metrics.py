"""Values of metrics of a place, as pipelines store them, and what differs between two collections."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lsst.daf.butler import Butler

from .find import plots_at
from .kinds import Place, PlotKind

__all__ = ["MetricDifference", "MetricValue", "metric_differences", "metrics_at", "parse_bundle"]

_LARGEST_BYTES = 5_000_000
_MOST_VALUES = 5000


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One value.

    Attributes
    ----------
    unit
        Empty if it has none.
    """

    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """A metric of the same place in two collections; NaN where one has no value."""

    name: str
    unit: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        """Second minus first value."""
        return self.second - self.first

    @property
    def share(self) -> float:
        """Difference as a share of the first value; NaN if that is 0."""
        return self.difference / abs(self.first) if self.first else math.nan


def metrics_at(
    butler: Butler, collection: str, kinds: Iterable[PlotKind], place: Place
) -> dict[str, MetricValue]:
    """Return the metrics of a place, by dataset type, action and name.

    Parameters
    ----------
    kinds
        Dataset types of metrics.
    place
        Such as instrument, visit and detector.

    Raises
    ------
    LookupError
        Raised if a file is missing or damaged.
    """
    found: dict[str, MetricValue] = {}
    for ref in plots_at(butler, collection, kinds, place):
        dataset = butler.get_dataset(ref.id)
        if dataset is None:
            continue
        # The stack's class of metrics is not on PyPI, but its files are JSON.
        path = butler.getURI(dataset)
        try:
            if path.size() > _LARGEST_BYTES:
                raise LookupError(f"{ref.kind} has more than {_LARGEST_BYTES // 1_000_000} MB.")
            content = path.read()
        except FileNotFoundError as error:
            raise LookupError(f"The file of {ref.kind} is missing.") from error
        rest = [str(value) for name, value in ref.data_id if (name, value) not in place]
        prefix = " ".join((ref.kind, *rest))
        found |= {f"{prefix}: {name}": value for name, value in parse_bundle(content, ref.kind).items()}
    return found


def parse_bundle(content: bytes, name: str) -> dict[str, MetricValue]:
    """Return the values of a file of metrics, by their names; those that are not numbers are left out.

    Raises
    ------
    LookupError
        Raised if the file is damaged.
    """
    try:
        bundle: Any = json.loads(content)
        found = {}
        for measurements in bundle.values():
            if not isinstance(measurements, list):
                # Times and identifiers of the bundle.
                continue
            for one in measurements[:_MOST_VALUES]:
                value = one.get("value", one.get("quantity"))
                if isinstance(value, int | float) and not isinstance(value, bool):
                    found[str(one["metric"])] = MetricValue(float(value), str(one.get("unit") or ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LookupError(f"The file of {name} has no metrics that can be read: {error!r}") from error
    return found


def metric_differences(
    first: Mapping[str, MetricValue], second: Mapping[str, MetricValue]
) -> list[MetricDifference]:
    """Return the metrics of two collections, those that differ most first.

    The order is that of the share by which they differ. Metrics that only one collection has come last.
    """
    unknown = MetricValue(math.nan, "")
    pairs = [
        MetricDifference(
            name,
            first.get(name, unknown).unit or second.get(name, unknown).unit,
            first.get(name, unknown).value,
            second.get(name, unknown).value,
        )
        for name in first.keys() | second.keys()
    ]

    def order(one: MetricDifference) -> tuple[bool, float, str]:
        if math.isnan(one.difference):
            return True, 0.0, one.name
        # From 0 to another value is farther than any share.
        return False, -abs(one.share) if one.first else -math.inf if one.second else 0.0, one.name

    return sorted(pairs, key=order)
