"""Which raws are known to have arrived, by what workers ask for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from prompt_processing.instruments.raw_key import RawKey
from prompt_processing.instruments.raw_store import ExposureIdentity

__all__ = ["ArrivedRaw", "RawIndex"]

_EXPOSURES = 3000
"""Exposures that are remembered: two nights' of the busiest camera, some 200 MB with all detectors."""


@dataclass(frozen=True, slots=True)
class ArrivedRaw:
    """A raw that is in the bucket.

    Attributes
    ----------
    key : `str`
        Its key.
    arrival : `float` or `None`
        When it arrived, Unix seconds, UTC.
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
        Exposures that are remembered; of more, the first known are forgotten.
    """

    def __init__(self, capacity: int = _EXPOSURES) -> None:
        self._capacity = capacity
        self._exposures: dict[tuple[str, int], _Exposure] = {}
        self._groups: dict[tuple[str, str], list[int]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._exposures)

    def add(self, raw: RawKey, arrival: float | None) -> bool:
        """Note that a raw has arrived.

        Parameters
        ----------
        raw : `~prompt_processing.instruments.raw_key.RawKey`
            The raw.
        arrival : `float` or `None`
            When it arrived, Unix seconds, UTC.

        Returns
        -------
        unidentified : `bool`
            Whether nobody has told yet which group its exposure belongs to.
        """
        with self._lock:
            exposure = self._exposure(raw.instrument, raw.exposure)
            # The first time counts: a raw that is copied once more has not arrived later.
            exposure.raws.setdefault(raw.detector, ArrivedRaw(raw.key, arrival))
            return exposure.identity is None

    def identify(self, instrument: str, exposure: int, identity: ExposureIdentity) -> None:
        """Note which group an exposure belongs to.

        Parameters
        ----------
        instrument, exposure : `str`, `int`
            The exposure.
        identity : `ExposureIdentity`
            From its header.
        """
        with self._lock:
            self._exposure(instrument, exposure).identity = identity
            exposures = self._groups.setdefault((instrument, identity.group), [])
            if exposure not in exposures:
                exposures.append(exposure)
                exposures.sort()

    def is_identified(self, instrument: str, exposure: int) -> bool:
        """Tell whether the group of an exposure is known."""
        with self._lock:
            known = self._exposures.get((instrument, exposure))
            return known is not None and known.identity is not None

    def exposures(self, instrument: str, group: str) -> list[int]:
        """Return the exposures that are known of a group, in order."""
        with self._lock:
            return list(self._groups.get((instrument, group), ()))

    def find(self, instrument: str, group: str, snap: int, detector: int) -> ArrivedRaw | None:
        """Find a raw.

        Parameters
        ----------
        instrument, group : `str`
            The visit.
        snap : `int`
            From 0: as the header counts, or where it does not, in the order of the exposures.
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
                told = exposure.identity.snap if exposure.identity is not None else None
                if snap == (position if told is None else told):
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
