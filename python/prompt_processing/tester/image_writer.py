"""Image writer: assigns new identities to raws during the exposure, and uploads them when it ends."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.time import Time

from prompt_processing.instruments import (
    RawKey,
    format_raw_key,
)
from prompt_processing.instruments.raw_key import has_night_keys
from prompt_processing.instruments.raw_writer import (
    format_sidecar,
    restamp_raw,
)

from .publish import ArrivalNotices

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["ImageWriter", "Snap", "SourceRaw", "UploadedRaw"]

_EXTENSION = re.compile(r"\.(fits|fit|fz)(\.\w+)?$")


@dataclass(frozen=True, slots=True)
class SourceRaw:
    """Raw on disk, to be uploaded under a new identity.

    Attributes
    ----------
    raw_key
        Original key.
    path
        Path of the file; a copy is written beside it.
    snap
        Index of its exposure in the visit, from 0.
    """

    raw_key: RawKey
    path: Path
    snap: int


@dataclass(frozen=True, slots=True)
class Snap:
    """Exposure to take.

    Attributes
    ----------
    group
        Group of the visit.
    exposure
        Exposure id.
    number, of
        Index in the visit, from 0, and number of the visit's exposures.
    announced, opens, arrives
        Times of the announcement, the opening of the shutter and the earliest upload, Unix seconds, UTC.
    """

    group: str
    exposure: int
    number: int
    of: int
    announced: float
    opens: float
    arrives: float


@dataclass(frozen=True, slots=True)
class UploadedRaw:
    """Uploaded raw.

    Attributes
    ----------
    source
        Original key.
    key
        New key.
    group
        New group.
    announced, arrived
        Times of the visit's announcement and of the end of the upload, Unix seconds, UTC.
    """

    source: RawKey
    key: RawKey
    group: str
    announced: float
    arrived: float


@dataclass(frozen=True, slots=True)
class _ReadyRaw:
    source: RawKey
    key: RawKey
    path: Path
    sidecar: bytes | None


class ImageWriter:
    """Writer of a snap's images to the image bucket.

    Parameters
    ----------
    s3
        Client of the store, used from several threads.
    bucket
        Bucket in which raws arrive.
    notices
        Publisher of arrival notices, for stores that publish none.
    n_threads
        Number of raws to prepare or upload at once.
    sleep
        Function that waits for a number of seconds.
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        notices: ArrivalNotices | None,
        n_threads: int = 8,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._notices = notices
        self._n_threads = n_threads
        self._sleep = sleep

    def write(self, raws: Sequence[SourceRaw], snap: Snap) -> list[UploadedRaw]:
        """Prepare raws, wait until the exposure ends, and upload them.

        Parameters
        ----------
        raws
            Raws of this snap.
        snap
            New identity of the raws.

        Returns
        -------
        uploaded
            Uploaded raws, in the same order.

        Raises
        ------
        HeaderError, RawFileError
            Raised if a raw is unusable.
        PublishError
            Raised if a notice cannot be published.
        """
        with ThreadPoolExecutor(self._n_threads) as pool:
            ready = list(pool.map(functools.partial(_prepare, snap=snap), raws))
            if (left := snap.arrives - time.time()) > 0:
                self._sleep(left)
            arrivals = list(pool.map(self._upload, ready))
        return [
            UploadedRaw(raw.source, raw.key, snap.group, snap.announced, arrived)
            for raw, arrived in zip(ready, arrivals, strict=True)
        ]

    def _upload(self, raw: _ReadyRaw) -> float:
        # The sidecar is uploaded first: clients may read it as soon as the image arrives.
        if raw.sidecar is not None:
            self._put(raw.key.sidecar_key(), raw.sidecar)
        self._put(raw.key.key, raw.path.read_bytes())
        return time.time()

    def _put(self, key: str, content: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=content)
        if self._notices is not None:
            self._notices.publish(self._bucket, key, len(content))


def _prepare(raw: SourceRaw, snap: Snap) -> _ReadyRaw:
    key = _identify(raw, snap)
    path = raw.path.with_name(Path(key.key).name)
    header = restamp_raw(
        raw.path,
        path,
        exposure=snap.exposure,
        group=snap.group,
        begin=Time(snap.opens, format="unix").tai,
        snap=snap.number,
        snaps=snap.of,
    )
    sidecar = format_sidecar(header) if has_night_keys(key.instrument) else None
    return _ReadyRaw(raw.raw_key, key, path, sidecar)


def _identify(raw: SourceRaw, snap: Snap) -> RawKey:
    old = raw.raw_key
    extension = _EXTENSION.search(old.key)
    return format_raw_key(
        old.instrument,
        old.detector,
        snap.exposure,
        group=snap.group,
        snap=snap.number,
        physical_filter=old.physical_filter,
        extension=extension[0] if extension else ".fits",
    )
