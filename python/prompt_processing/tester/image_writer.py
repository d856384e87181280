"""The image writer: gives raws their new identity during the exposure, and uploads them when it ends."""

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
from prompt_processing.instruments.raw_key import LSST_CAMERA_CODES
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
    """A raw on disk, to be uploaded as a new one.

    Attributes
    ----------
    raw_key : `RawKey`
        What it was.
    path : `~pathlib.Path`
        Where it is; a copy of it is made beside it.
    snap : `int`
        Place of its exposure in the visit, from 0.
    """

    raw_key: RawKey
    path: Path
    snap: int


@dataclass(frozen=True, slots=True)
class Snap:
    """An exposure to be taken.

    Attributes
    ----------
    group : `str`
        Of the visit.
    exposure : `int`
        Id.
    number, of : `int`
        Place in the visit, from 0, and number of its exposures.
    announced, opens, arrives : `float`
        When the visit was announced, when the shutter opens and when the images may land, Unix seconds, UTC.
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
    """A raw as it was uploaded.

    Attributes
    ----------
    source : `RawKey`
        What it was before.
    key : `RawKey`
        What it has become.
    group : `str`
        Its new group.
    announced, arrived : `float`
        When its visit was announced and when its upload ended, Unix seconds, UTC.
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
    """Writes images of a snap to the image bucket.

    Parameters
    ----------
    s3 : ``S3Client``
        Client of the store; it is used from several threads.
    bucket : `str`
        Bucket that raws arrive in.
    notices : `ArrivalNotices` or `None`
        Publishes arrivals, for stores that do not.
    n_threads : `int`
        How many raws are prepared or uploaded at once.
    sleep : callable
        Waits for a number of seconds.
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
        """Prepare raws, wait until they may land, and upload them.

        Parameters
        ----------
        raws : sequence of `SourceRaw`
            Of this snap.
        snap : `Snap`
            What they become.

        Returns
        -------
        uploaded : `list` [`UploadedRaw`]
            In the same order.

        Raises
        ------
        HeaderError, RawFileError
            A raw is not what it should be.
        PublishError
            A notice could not be published.
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
        # The sidecar lands first: whoever sees the image may ask for it.
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
    sidecar = format_sidecar(header) if key.instrument in LSST_CAMERA_CODES else None
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
