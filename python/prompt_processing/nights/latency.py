"""Distributions of seconds that can be added up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from .records import Percentiles

__all__ = ["add_up", "histogram", "percentiles"]

_FACTOR = 1.05
"""Ratio of two edges: a percentile is right to half of that."""
_LEAST = 0.01
"""Seconds; shorter times share the first bin."""
_MOST_BINS = 400

Bins = dict[str, int]
"""Number of values by bin; the keys are strings, as in JSON."""


def histogram(values: Iterable[float]) -> Bins:
    """Count seconds in logarithmic bins."""
    bins: Bins = {}
    for value in values:
        number = 0 if value <= _LEAST else math.ceil(math.log(value / _LEAST) / math.log(_FACTOR))
        key = str(min(number, _MOST_BINS))
        bins[key] = bins.get(key, 0) + 1
    return bins


def add_up(parts: Iterable[Mapping[str, int]]) -> Bins:
    """Add histograms."""
    total: Bins = {}
    for part in parts:
        for key, count in part.items():
            total[key] = total.get(key, 0) + count
    return total


def percentiles(bins: Mapping[str, int]) -> Percentiles:
    """Return the percentiles of a histogram; all 0 if it is empty."""
    ordered = sorted((int(key), count) for key, count in bins.items())
    n = sum(count for _, count in ordered)

    def at(share: float) -> float:
        seen = 0
        for number, count in ordered:
            seen += count
            if seen >= share * n:
                # The middle of the bin.
                return round(_LEAST * _FACTOR ** max(0.0, number - 0.5), 3)
        return 0.0

    return Percentiles(n, at(0.5), at(0.95), at(0.99), at(1.0))
