"""Index of the raws that are known to have arrived."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from prompt_processing.instruments.raw_key import RawKey
from prompt_processing.instruments.raw_store import ExposureIdentity

__all__ = ["ArrivedRaw", "RawIndex"]

_EXPOSURES = 3000
"""Exposures to remember: two nights of the busiest camera, some 200 MB with all detectors."""


@dataclass(frozen=True, slots=True)
class ArrivedRaw:
    """A raw in the bucket.

    Attributes
    ----------
    key : `str`
        Key of the raw.
    arrival : `float` or `None`
        Time of arrival, Unix seconds, UTC.
    """

    key: str
    arrival: float | None


@dataclass
class _Exposure:
    identity: ExposureIdentity | None = None
    raws: dict[int, ArrivedRaw] = field(default_factory=dict)


class RawIndex:
    """Raws by exposure and exposures by group; any thread may use it.

    Parameters
    ----------
    capacity : `int`, optional
        Number of exposures to remember; the oldest are forgotten.
    """

    def __init__(self, capacity: int = _EXPOSURES) -> None:
        self._capacity = capacity
        self._exposures: dict[tuple[str, int], _Exposure] = {}
        self._groups: dict[tuple[str, str], list[int]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._exposures)

    def add(self, raw: RawKey, arrival: float | None) -> bool:
        """Record that a raw has arrived.

        Parameters
        ----------
        raw : `~prompt_processing.instruments.raw_key.RawKey`
            The raw.
        arrival : `float` or `None`
            Time of arrival, Unix seconds, UTC.

        Returns
        -------
        unidentified : `bool`
            Whether the group of its exposure is still unknown.
        """
        with self._lock:
            exposure = self._exposure(raw.instrument, raw.exposure)
            # The first time counts: a second copy of a raw does not change its arrival.
            exposure.raws.setdefault(raw.detector, ArrivedRaw(raw.key, arrival))
            return exposure.identity is None

    def identify(self, instrument: str, exposure: int, identity: ExposureIdentity) -> None:
        """Record the group of an exposure.

        Parameters
        ----------
        instrument, exposure : `str`, `int`
            The exposure.
        identity : `ExposureIdentity`
            Identity from the header.
        """
        with self._lock:
            self._exposure(instrument, exposure).identity = identity
            exposures = self._groups.setdefault((instrument, identity.group), [])
            if exposure not in exposures:
                exposures.append(exposure)
                exposures.sort()

    def is_identified(self, instrument: str, exposure: int) -> bool:
        """Return whether the group of an exposure is known."""
        with self._lock:
            known = self._exposures.get((instrument, exposure))
            return known is not None and known.identity is not None

    def exposures(self, instrument: str, group: str) -> list[int]:
        """Return the known exposures of a group, in order."""
        with self._lock:
            return list(self._groups.get((instrument, group), ()))

    def find(self, instrument: str, group: str, snap: int, detector: int) -> ArrivedRaw | None:
        """Find a raw.

        Parameters
        ----------
        instrument, group : `str`
            The visit.
        snap : `int`
            Index from 0, from the header or, without one there, in the order of the exposures.
        detector : `int`
            Detector id.

        Returns
        -------
        raw : `ArrivedRaw` or `None`
            `None` if it is not known to have arrived.
        """
        with self._lock:
            for position, number in enumerate(self._groups.get((instrument, group), ())):
                exposure = self._exposures[instrument, number]
                in_header = exposure.identity.snap if exposure.identity is not None else None
                if snap == (position if in_header is None else in_header):
                    return exposure.raws.get(detector)
            return None

    def _exposure(self, instrument: str, number: int) -> _Exposure:
        if (instrument, number) not in self._exposures:
            while len(self._exposures) >= self._capacity:
                self._forget(next(iter(self._exposures)))
            self._exposures[instrument, number] = _Exposure()
        return self._exposures[instrument, number]

    def _forget(self, place: tuple[str, int]) -> None:
        instrument, number = place
        identity = self._exposures.pop(place).identity
        if identity is not None:
            exposures = self._groups[instrument, identity.group]
            exposures.remove(number)
            if not exposures:
                del self._groups[instrument, identity.group]
