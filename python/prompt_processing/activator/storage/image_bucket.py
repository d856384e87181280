"""The bucket that raw images arrive in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote

from lsst.resources import ResourcePath

from prompt_processing.domain.clock import day_obs, tai_to_utc
from prompt_processing.domain.errors import RetriableError
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.raw_key import RawKey, format_raw_key, lsst_exposure_id, visit_prefixes
from prompt_processing.instruments.raw_store import STORE_FAILURES, RawStore, exposure_of_folder
from prompt_processing.transport.refusals import explain_refusal
from prompt_processing.transport.s3 import split_bucket

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_CACHED_GROUPS = 5000
"""Number of exposures with a cached group: more than one night has, in less than a megabyte."""

_CLOCK_MARGIN = 600.0
"""Seconds by which the clocks of store and summit may differ, with a generous margin."""


@dataclass(frozen=True)
class ArrivedImage:
    """A raw of the visit that is in the bucket.

    Attributes
    ----------
    uri : `lsst.resources.ResourcePath`
        Location of the image.
    exposure : `int`
        Exposure id; images of one exposure are equivalent.
    arrival : `float` or `None`
        Time of arrival, Unix seconds, UTC.
    """

    uri: ResourcePath
    exposure: int
    arrival: float | None


class ImageBucket:
    """Find a visit's raws.

    Parameters
    ----------
    store : `~prompt_processing.instruments.raw_store.RawStore`
        The bucket.
    """

    def __init__(self, store: RawStore) -> None:
        self._store = store
        # An exposure's group never changes and is the same for all detectors.
        self._groups: dict[int, str] = {}

    def find(self, visit: FannedOutVisit, now_unix_utc: float) -> list[ArrivedImage]:
        """Return the raws of a visit in the bucket.

        Parameters
        ----------
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit.
        now_unix_utc : `float`
            Current time, Unix seconds, UTC.

        Returns
        -------
        images : `list` [`ArrivedImage`]
            Images of the visit's group and detector, newest exposure first.

        Raises
        ------
        RetriableError
            Raised if the bucket does not answer.
        """
        # The announcement of a replayed visit is new; its group and its images are those of the night.
        planned = min(visit.private_sndStamp, visit.group_time or visit.private_sndStamp)
        nights = {
            day_obs(now_unix_utc),
            *(day_obs(tai_to_utc(at)) for at in (visit.private_sndStamp, planned)),
        }
        if visit.startTime > 0:
            nights.add(day_obs(tai_to_utc(visit.startTime)))
        prefixes = visit_prefixes(
            visit.instrument, visit.detector, visit.groupId, sorted(nights, reverse=True)
        )
        # An image that arrived long before the announcement belongs to another visit.
        oldest = tai_to_utc(planned) - _CLOCK_MARGIN
        return self._ask(
            lambda: [image for prefix in prefixes for image in self._search(visit, prefix, oldest)]
        )

    def identify(self, notice: ArrivalNotice, visit: FannedOutVisit) -> ArrivedImage | None:
        """Return the raw of a visit that a notice announces.

        Parameters
        ----------
        notice : `~prompt_processing.domain.notices.ArrivalNotice`
            The notice.
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit.

        Returns
        -------
        image : `ArrivedImage` or `None`
            `None` if it belongs to another instrument, detector or group.

        Raises
        ------
        RetriableError
            Raised if the group has to be read from the bucket, and it does not answer.
        """
        candidates = [raw for key in notice.keys if (raw := RawKey.parse(key)) is not None]
        matching = [raw for raw in candidates if self._is_detector(raw, visit)]
        if not matching:
            return None

        def choose() -> ArrivedImage | None:
            for raw in matching:
                # A notice may be read in two valid ways; then the bucket shows which object exists.
                if len(matching) > 1 and self._store.modified(raw.key) is None:
                    continue
                if self._group(raw) == visit.groupId:
                    return ArrivedImage(self._uri(raw.key), raw.exposure, notice.arrival)
            return None

        return self._ask(choose)

    def located(self, uri: str, visit: FannedOutVisit, arrival: float | None) -> ArrivedImage | None:
        """Return the raw of a visit at a reported location, if that location is plausible.

        Parameters
        ----------
        uri : `str`
            The reported location.
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit.
        arrival : `float` or `None`
            The reported time of arrival, Unix seconds, UTC.

        Returns
        -------
        image : `ArrivedImage` or `None`
            `None` if the location is outside this bucket, or not a raw of the visit's detector.
        """
        # The service may use another profile for the same bucket: `s3://profile@bucket/key`.
        address, _, key = uri.removeprefix("s3://").partition("/")
        ours = uri.startswith("s3://") and split_bucket(address)[1] == self._store.name
        raw = RawKey.parse(unquote(key)) if ours else None
        if raw is None or not self._is_detector(raw, visit):
            return None
        return ArrivedImage(self._uri(raw.key), raw.exposure, arrival)

    def _search(self, visit: FannedOutVisit, prefix: str, oldest: float) -> Iterator[ArrivedImage]:
        if prefix.count("/") > 2:
            # The prefix holds only the visit's raws of this detector.
            for key, modified in self._store.objects(prefix):
                raw = RawKey.parse(key)
                if raw is not None and self._is_detector(raw, visit) and raw.group == visit.groupId:
                    yield ArrivedImage(self._uri(key), raw.exposure, modified)
            return
        # Exposures of the whole night, newest first, until one predates the visit. An OBSID ends in the
        # sequence number; the letter in front names the controller.
        name = detector_file_name(visit.instrument, visit.detector)
        found = 0
        for folder in sorted(
            self._store.folders(prefix), key=lambda path: path.split("_")[-2:], reverse=True
        ):
            exposure = exposure_of_folder(folder)
            if exposure is None or self._groups.get(exposure, visit.groupId) != visit.groupId:
                continue
            for key, modified in self._store.objects(f"{folder}{folder.split('/')[-2]}_{name}"):
                raw = RawKey.parse(key)
                if raw is None or not self._is_detector(raw, visit):
                    continue
                if modified < oldest:
                    return
                if self._group(raw) == visit.groupId:
                    yield ArrivedImage(self._uri(key), raw.exposure, modified)
                    found += 1
            if found and found >= visit.nimages > 0:
                return

    def _is_detector(self, raw: RawKey, visit: FannedOutVisit) -> bool:
        return (
            raw.instrument == visit.instrument
            and raw.detector == visit.detector
            and raw.group in (None, visit.groupId)
        )

    def _group(self, raw: RawKey) -> str | None:
        if raw.group is not None:
            return raw.group
        if raw.exposure not in self._groups:
            identity = self._store.identify(raw)
            if identity is None:
                return None
            while len(self._groups) >= _CACHED_GROUPS:
                del self._groups[next(iter(self._groups))]
            self._groups[raw.exposure] = identity.group
        return self._groups[raw.exposure]

    def _uri(self, key: str) -> ResourcePath:
        return ResourcePath(f"{self._store.uri}/{quote(key)}")

    def _ask(self, question: Callable[[], _T]) -> _T:
        try:
            return question()
        except STORE_FAILURES as error:
            why = explain_refusal(error) or error
            raise RetriableError(f"The image bucket {self._store.name} does not answer: {why}") from error


def detector_file_name(instrument: str, detector: int) -> str:
    """Return the name of an LSST detector in file names.

    Parameters
    ----------
    instrument : `str`
        One of the LSST cameras.
    detector : `int`
        Detector id.

    Returns
    -------
    name : `str`
        ``<raft>_<sensor>``.
    """
    stem = format_raw_key(instrument, detector, lsst_exposure_id(20000101, 1), extension=".fits").key
    return "_".join(stem.removesuffix(".fits").split("_")[-2:])
