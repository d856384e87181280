"""Wait until a visit's images are there."""

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
"""How long one look for notices takes: a signal has to be noticed soon."""


class Notices(Protocol):
    """Notices of new objects, as `ArrivalNotices` gives them."""

    @property
    def connected(self) -> bool:
        """Whether notices can be expected."""

    def start(self) -> None:
        """Fix the position."""

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        """Give what has arrived."""

    def stop(self) -> None:
        """Forget the position."""


class Images(Protocol):
    """Where images can be found, as `ImageBucket` does it."""

    def find(self, visit: FannedOutVisit, now_unix_utc: float) -> list[ArrivedImage]:
        """Ask for a visit's images."""

    def identify(self, notice: ArrivalNotice, visit: FannedOutVisit) -> ArrivedImage | None:
        """Tell whether a notice is about one of them."""


class WaitForSnaps:
    """Collect the images of one visit after another.

    Parameters
    ----------
    notices : `Notices`
        Where news come from.
    images : `Images`
        Where images are.
    image_timeout : `float`
        Seconds to wait on top of twice the visit's duration.
    asking_interval : `float`, optional
        Seconds between questions to the bucket while there are no notices.
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
        """Begin to keep notices, before anything else of the visit is done.

        Without Kafka the visit goes on; the bucket is asked instead.
        """
        try:
            self._notices.start()
            self._subscribed = True
        except NoticesUnavailableError as error:
            self._subscribed = False
            _log.warning("No arrival notices for now, the bucket is asked: %s", error.reason)

    def unsubscribe(self) -> None:
        """Keep no more notices."""
        if self._subscribed:
            self._notices.stop()
            self._subscribed = False

    def collect(self, visit: FannedOutVisit) -> tuple[ArrivedImage, ...]:
        """Wait for the visit's images, ``2 * duration + image_timeout`` seconds at most.

        Parameters
        ----------
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit. One that does not know how many snaps it will have is
            waited for until the end.

        Returns
        -------
        images : `tuple` [`ArrivedImage`]
            One of each exposure, in the order of the exposures; fewer than
            announced, or none, if they did not come.

        Raises
        ------
        RetriableError
            Raised if there is no image and the bucket could not be asked, so
            that nobody knows whether there is one.
        """
        found: dict[int, ArrivedImage] = {}
        start = self._monotonic()
        deadline = start + 2 * visit.duration + self._image_timeout
        self._ask(visit, found)
        next_question = self._monotonic() + self._asking_interval
        while not _complete(visit, found) and (left := deadline - self._monotonic()) > 0:
            unidentified = self._listen(visit, found, min(left, _POLL_SECONDS))
            # With Kafka in order the bucket is left alone: a full camera's workers would ask it all at once.
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
                # It may be ours; the next question to the bucket will tell.
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
