"""Identifiers of catalogue rows, unique for each visit and detector.

An id is a non-negative 63-bit integer, from the high bits to the low::

    31 bits  visit      for an LSST exposure id (YYYYMMDD * 100000 + sequence number), 14 bits days since
                        2010-01-01 and 17 bits sequence number; for other ids, the number itself
     8 bits  detector
    24 bits  counter within the visit and detector

The two kinds of visit id share these 31 bits. One APDB serves one instrument, so they never collide.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

COUNTER_BITS = 24
DETECTOR_BITS = 8
SEQUENCE_BITS = 17
DAY_BITS = 14
VISIT_BITS = DAY_BITS + SEQUENCE_BITS

_FIRST_DAY = datetime.date(2010, 1, 1)
_SEQUENCE_FACTOR = 100_000


class PackedId(NamedTuple):
    """Parts of an identifier."""

    visit: int
    detector: int
    counter: int


def _visit_bits(visit: int) -> int:
    if 0 <= visit < 1 << VISIT_BITS:
        return visit
    day, sequence = divmod(visit, _SEQUENCE_FACTOR)
    try:
        date = datetime.date(day // 10_000, day // 100 % 100, day % 100)
    except ValueError as exc:
        raise ValueError(f"Visit {visit} is neither below 2**{VISIT_BITS} nor YYYYMMDDnnnnn.") from exc
    days = (date - _FIRST_DAY).days
    if not 0 <= days < 1 << DAY_BITS:
        raise ValueError(f"The date of visit {visit} does not fit in {DAY_BITS} bits from {_FIRST_DAY}.")
    return days << SEQUENCE_BITS | sequence


def pack_ids(visit: int, detector: int, counters: Iterable[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Make the ids of several rows of one visit and detector.

    Parameters
    ----------
    visit, detector : `int`
        Ids of visit and detector.
    counters : iterable of `int`
        Number of each row within the visit and detector, below 2**24.

    Returns
    -------
    ids : `~numpy.ndarray` of int64, shape (n,)
        One id per counter.

    Raises
    ------
    ValueError
        If the visit, the detector or a counter is out of range.
    """
    if not 0 <= detector < 1 << DETECTOR_BITS:
        raise ValueError(f"Detector {detector} does not fit in {DETECTOR_BITS} bits.")
    numbers = counters if isinstance(counters, np.ndarray) else np.fromiter(counters, np.int64)
    numbers = numbers.astype(np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < 1 << COUNTER_BITS:
        raise ValueError(f"Counters {numbers.min()} to {numbers.max()} do not fit in {COUNTER_BITS} bits.")
    base = (_visit_bits(visit) << DETECTOR_BITS | detector) << COUNTER_BITS
    return np.asarray(np.int64(base) | numbers)


def pack_id(visit: int, detector: int, counter: int) -> int:
    """Make the id of one row; see `pack_ids`."""
    return int(pack_ids(visit, detector, (counter,))[0])


def unpack_id(identifier: int, *, dated: bool) -> PackedId:
    """Split an id into its parts.

    Parameters
    ----------
    identifier : `int`
        An id from `pack_ids`.
    dated : `bool`
        Whether the visits are LSST exposure ids (YYYYMMDDnnnnn).

    Raises
    ------
    ValueError
        If the id is negative.
    """
    if identifier < 0:
        raise ValueError(f"Not a packed id: {identifier}.")
    counter = identifier & (1 << COUNTER_BITS) - 1
    detector = identifier >> COUNTER_BITS & (1 << DETECTOR_BITS) - 1
    visit = identifier >> COUNTER_BITS + DETECTOR_BITS
    if dated:
        date = _FIRST_DAY + datetime.timedelta(days=visit >> SEQUENCE_BITS)
        day = (date.year * 100 + date.month) * 100 + date.day
        visit = day * _SEQUENCE_FACTOR + (visit & (1 << SEQUENCE_BITS) - 1)
    return PackedId(visit, detector, counter)
