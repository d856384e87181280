"""Answer from notices or, if they are missing, from the bucket, with one query for all workers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from prompt_processing.domain.clock import day_obs
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.instruments.raw_key import RawKey
from prompt_processing.instruments.raw_store import STORE_FAILURES

from .bucket import RawBucket
from .index import ArrivedRaw, RawIndex

__all__ = ["BucketUnavailableError", "PresenceService"]

_log = logging.getLogger("lsst.raw_microservice.service")

_EXPOSURES_TO_IDENTIFY = 100
"""Largest number of unknown exposures, newest first, that one request identifies."""

_GROUPS_REMEMBERED = 1000
"""Number of groups with a remembered time of the last query."""


class BucketUnavailableError(Exception):
    """The bucket does not answer, so that the answer is unknown."""


class PresenceService:
    """Find the raws that have arrived.

    Parameters
    ----------
    index : `RawIndex`
        Index of known raws.
    bucket : `RawBucket`
        The bucket.
    instruments : iterable of `str`
        Instruments to support.
    interval : `float`
        Seconds for which an answer of the bucket is reused for the same group.
    now, monotonic : callable, optional
        Return Unix seconds, UTC, and the seconds of a monotonic clock.
    """

    def __init__(
        self,
        index: RawIndex,
        bucket: RawBucket,
        instruments: Iterable[str],
        interval: float,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._index = index
        self._bucket = bucket
        self._instruments = frozenset(instruments)
        self._interval = interval
        self._now = now
        self._monotonic = monotonic
        self._asked: dict[tuple[str, str], float] = {}
        self._asking = {instrument: threading.Lock() for instrument in self._instruments}

    @property
    def instruments(self) -> frozenset[str]:
        """Instruments that the service supports."""
        return self._instruments

    @property
    def bucket_uri(self) -> str:
        """URI of the bucket, with the profile that its setting names."""
        return self._bucket.uri

    def note(self, notice: ArrivalNotice) -> None:
        """Handle a notice.

        Parameters
        ----------
        notice : `~prompt_processing.domain.notices.ArrivalNotice`
            Notice of any object.
        """
        raws = [raw for key in notice.keys if (raw := RawKey.parse(key)) is not None]
        if not raws or raws[0].instrument not in self._instruments:
            return
        raw = raws[0]
        if self._index.add(raw, notice.arrival):
            try:
                self._identify(raw)
            except STORE_FAILURES as error:
                # The next raw of the exposure, or the next request, tries again.
                _log.warning("Cannot read the group of %s yet: %s", raw.key, error)

    def find(self, instrument: str, group: str, snap: int, detector: int) -> ArrivedRaw | None:
        """Find a raw; arguments and return value as for `RawIndex.find`.

        Raises
        ------
        BucketUnavailableError
            Raised if the raw is unknown and the bucket does not answer.
        """
        found = self._index.find(instrument, group, snap, detector)
        if found is None:
            # Notices may be late or lost, and those from before the start were not received.
            self._ask_bucket(instrument, group)
            found = self._index.find(instrument, group, snap, detector)
        return found

    def _ask_bucket(self, instrument: str, group: str) -> None:
        place = (instrument, group)
        # All workers of a camera ask at the same moment; the first request queries the bucket for all.
        with self._asking[instrument]:
            last = self._asked.get(place)
            if last is not None and self._monotonic() - last < self._interval:
                return
            try:
                self._look(instrument, group)
            except STORE_FAILURES as error:
                raise BucketUnavailableError(f"Bucket {self._bucket.uri}: {error}") from error
            self._asked.pop(place, None)
            self._asked[place] = self._monotonic()
            while len(self._asked) > _GROUPS_REMEMBERED:
                del self._asked[next(iter(self._asked))]

    def _look(self, instrument: str, group: str) -> None:
        folders = self._bucket.folders(instrument, _nights(group, self._now()))
        unknown = [place for place in folders if not self._index.is_identified(instrument, place[0])]
        for _, folder in unknown[:_EXPOSURES_TO_IDENTIFY]:
            raws = list(self._bucket.raws(folder))
            if not raws:
                continue  # Only sidecars so far.
            for raw, arrival in raws:
                self._index.add(raw, arrival)
            self._identify(raws[0][0])
        known = set(self._index.exposures(instrument, group)) - {exposure for exposure, _ in unknown}
        for exposure, folder in folders:
            if exposure in known:
                for raw, arrival in self._bucket.raws(folder):
                    self._index.add(raw, arrival)

    def _identify(self, raw: RawKey) -> None:
        identity = self._bucket.identify(raw)
        if identity is not None:
            self._index.identify(raw.instrument, raw.exposure, identity)


def _nights(group: str, now: float) -> list[int]:
    """Return the possible observing days of a group: today, and the day of the time in its name."""
    nights = {day_obs(now)}
    try:
        moment = datetime.fromisoformat(group.replace("Z", "+00:00"))
        nights.add(day_obs((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))
    except ValueError:
        pass
    return sorted(nights, reverse=True)
