"""Cache answers of the central repository that many visits share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from astropy.time import Time, TimeDelta
from lsst.daf.butler import DatasetRef, DatasetType, Timespan

from prompt_processing.butler.central import CentralRepository
from prompt_processing.butler.local.repository import Certified

LIFETIME = 900.0
"""Seconds for which an answer is kept: the longest delay before a worker sees a new certification."""

_WINDOW = TimeDelta(86400.0, format="sec")


@dataclass(frozen=True, slots=True)
class _Calibrations:
    """Calibrations of a type, for all detectors and filters, that are valid at some time in a window."""

    window: Timespan
    expires: float
    by_detector: Mapping[Any, Sequence[Certified]]


class KnownInputs:
    """Look up inputs that do not depend on where the telescope points.

    A worker may process any detector, so that the answer for one visit seldom
    serves the next. It therefore queries all detectors of the camera at once,
    at most a few thousand rows, and answers from these.

    Parameters
    ----------
    central : `CentralRepository`
        The central repository.
    lifetime : `float`, optional
        Seconds after which the central repository is queried again.
    now : callable, optional
        Returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        central: CentralRepository,
        lifetime: float = LIFETIME,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._central = central
        self._lifetime = lifetime
        self._now = now
        self._calibrations: dict[str, _Calibrations] = {}
        self._datasets: dict[tuple[str, frozenset[tuple[str, Any]]], tuple[float, list[DatasetRef]]] = {}

    def forget(self) -> None:
        """Drop all answers, at the beginning of a night or when the repository has changed."""
        self._calibrations.clear()
        self._datasets.clear()

    def calibrations(
        self, dataset_type: DatasetType, data_id: Mapping[str, Any], when: Timespan, order: Sequence[str]
    ) -> list[Certified]:
        """Find the calibrations of one type that a visit needs.

        Parameters
        ----------
        dataset_type : `~lsst.daf.butler.DatasetType`
            A calibration type.
        data_id : mapping
            Instrument, detector and, if known, filter.
        when : `~lsst.daf.butler.Timespan`
            Time of the visit.
        order : sequence of `str`
            Collections in search order.

        Returns
        -------
        calibrations : `list` [`Certified`]
            For each data ID, the calibration of the first collection that has one.
        """
        known = self._calibrations.get(dataset_type.name)
        if known is None or known.expires <= self._now() or not known.window.contains(when):
            known = self._ask(dataset_type, data_id["instrument"], when, order)
        candidates = known.by_detector.get(data_id.get("detector"), ())
        if "detector" not in dataset_type.dimensions:
            candidates = known.by_detector.get(None, ())
        return best_calibrations(candidates, data_id, when, order)

    def datasets(
        self, dataset_type: DatasetType, data_id: Mapping[str, Any], order: Sequence[str]
    ) -> list[DatasetRef]:
        """Find datasets without validity range and position; arguments as for `calibrations`."""
        identity = frozenset((key, value) for key, value in data_id.items() if key in dataset_type.dimensions)
        known = self._datasets.get((dataset_type.name, identity))
        if known is None or known[0] <= self._now():
            found = self._central.find_datasets(dataset_type, data_id, order)
            known = (self._now() + self._lifetime, found)
            self._datasets[dataset_type.name, identity] = known
        return known[1]

    def _ask(
        self, dataset_type: DatasetType, instrument: str, when: Timespan, order: Sequence[str]
    ) -> _Calibrations:
        window = when
        if isinstance(when.begin, Time) and isinstance(when.end, Time):
            window = Timespan(when.begin - _WINDOW, when.end + _WINDOW)
        by_detector: dict[Any, list[Certified]] = {}
        for found in self._central.find_calibrations(dataset_type, {"instrument": instrument}, window, order):
            by_detector.setdefault(found.ref.dataId.get("detector"), []).append(found)
        known = _Calibrations(window, self._now() + self._lifetime, by_detector)
        self._calibrations[dataset_type.name] = known
        return known


def best_calibrations(
    candidates: Iterable[Certified], data_id: Mapping[str, Any], when: Timespan, order: Sequence[str]
) -> list[Certified]:
    """Choose among calibrations of one type.

    Parameters
    ----------
    candidates : iterable of `Certified`
        Calibrations of any data IDs and times.
    data_id, when, order
        As for `KnownInputs.calibrations`.

    Returns
    -------
    calibrations : `list` [`Certified`]
        For each data ID, the calibration of the first collection that has one.
    """
    rank = {collection: position for position, collection in enumerate(order)}
    first: dict[Any, Certified] = {}
    for found in candidates:
        identity = found.ref.dataId
        if any(key in identity and identity[key] != value for key, value in data_id.items()):
            continue
        if found.timespan is not None and not found.timespan.overlaps(when):
            continue
        best = first.get(identity)
        # If several validity ranges overlap the visit, choose the one that begins first.
        if best is None or (rank[found.collection], _begin(found)) < (rank[best.collection], _begin(best)):
            first[identity] = found
    return list(first.values())


def _begin(found: Certified) -> int:
    return 0 if found.timespan is None else found.timespan.nsec[0]
