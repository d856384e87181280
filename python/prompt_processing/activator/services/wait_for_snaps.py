"""Wait for the images of a visit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from prompt_processing.activator.storage.image_bucket import ArrivedImage
from prompt_processing.domain.errors import RetriableError
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.transport.arrival_notices import NoticesUnavailableError

_log = logging.getLogger("lsst.activator.services.wait_for_snaps")

_POLL_SECONDS = 0.25
"""Longest wait for notices at a time, so that a signal is handled soon."""


class Notices(Protocol):
    """Notices of new objects, see `ArrivalNotices`."""

    @property
    def connected(self) -> bool:
        """Whether notices can be expected."""

    def start(self) -> None:
        """Fix the position from which notices are read."""

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        """Return the notices that have arrived."""

    def stop(self) -> None:
        """Forget the position."""

    def close(self) -> None:
        """Close the connection."""


class Images(Protocol):
    """A source of images, see `ImageBucket`."""

    def find(self, visit: FannedOutVisit, now_unix_utc: float) -> list[ArrivedImage]:
        """Return the images of a visit that have arrived."""

    def identify(self, notice: ArrivalNotice, visit: FannedOutVisit) -> ArrivedImage | None:
        """Return the image of the visit that a notice announces, or `None`."""


class WaitForSnaps:
    """Collect the images of one visit after another.

    Parameters
    ----------
    notices : `Notices`
        Source of arrival notices.
    images : `Images`
        Source of images.
    image_timeout : `float`
        Seconds to wait on top of twice the visit's duration.
    asking_interval : `float`, optional
        Seconds between two checks of the bucket while notices are unavailable.
    """

    def __init__(
        self,
        notices: Notices,
        images: Images,
        image_timeout: float,
        *,
        asking_interval: float = 3.0,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._notices = notices
        self._images = images
        self._image_timeout = image_timeout
        self._asking_interval = asking_interval
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._subscribed = False

    def subscribe(self) -> None:
        """Start to collect notices, before any other work for the visit.

        Without Kafka the visit continues, and the bucket is polled instead.
        """
        try:
            self._notices.start()
            self._subscribed = True
        except NoticesUnavailableError as error:
            self._subscribed = False
            _log.warning("No arrival notices for now, the bucket is polled: %s", error.reason)

    def unsubscribe(self) -> None:
        """Stop collecting notices."""
        if self._subscribed:
            self._notices.stop()
            self._subscribed = False

    def collect(self, visit: FannedOutVisit) -> tuple[ArrivedImage, ...]:
        """Wait at most ``2 * duration + image_timeout`` seconds for the visit's images.

        Parameters
        ----------
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit. If its number of snaps is unknown, the wait always lasts
            until the deadline.

        Returns
        -------
        images : `tuple` [`ArrivedImage`]
            One image per exposure, in the order of the exposures; fewer than
            announced, or none, if images are missing.

        Raises
        ------
        RetriableError
            Raised if no image was found and the bucket is unavailable, so
            that an image may exist.
        """
        found: dict[int, ArrivedImage] = {}
        start = self._monotonic()
        deadline = start + 2 * visit.duration + self._image_timeout
        self._ask(visit, found)
        next_question = self._monotonic() + self._asking_interval
        while not _complete(visit, found) and (left := deadline - self._monotonic()) > 0:
            unidentified = self._listen(visit, found, min(left, _POLL_SECONDS))
            # While notices arrive the bucket is not polled: all workers of a camera would do so at once.
            if (unidentified or not self._hears()) and self._monotonic() >= next_question:
                if not self._subscribed:
                    self.subscribe()
                self._ask(visit, found)
                next_question = self._monotonic() + self._asking_interval
        if not _complete(visit, found):
            failure = self._ask(visit, found)
            if failure is not None and not found:
                raise failure
            _log.log(
                logging.DEBUG if _complete(visit, found) or visit.nimages == 0 else logging.WARNING,
                "Waited %.1f s for %s image(s), %d came.",
                self._monotonic() - start,
                visit.nimages or "any number of",
                len(found),
            )
        return tuple(found[exposure] for exposure in sorted(found))

    def _hears(self) -> bool:
        return self._subscribed and self._notices.connected

    def _listen(self, visit: FannedOutVisit, found: dict[int, ArrivedImage], seconds: float) -> bool:
        if not self._subscribed:
            self._sleep(seconds)
            return False
        unidentified = False
        for notice in self._notices.poll(seconds):
            try:
                image = self._images.identify(notice, visit)
            except RetriableError as error:
                # It may announce our image; the next look into the bucket decides.
                _log.warning("Notice of %s: %s", notice.keys[0], error.reason)
                unidentified = True
                continue
            if image is not None:
                found.setdefault(image.exposure, image)
        return unidentified

    def _ask(self, visit: FannedOutVisit, found: dict[int, ArrivedImage]) -> RetriableError | None:
        try:
            for image in self._images.find(visit, self._now()):
                found.setdefault(image.exposure, image)
        except RetriableError as error:
            _log.warning("%s", error.reason)
            return error
        return None


def _complete(visit: FannedOutVisit, found: dict[int, ArrivedImage]) -> bool:
    return 0 < visit.nimages <= len(found)
