"""The image bucket, as the service asks it on behalf of all workers."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from prompt_processing.domain.json_text import parse_json
from prompt_processing.instruments.fits_cards import find_cards
from prompt_processing.instruments.raw_key import RawKey, lsst_exposure_id, visit_prefixes

from .index import ExposureIdentity

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["BUCKET_FAILURES", "RawBucket"]

_log = logging.getLogger("lsst.raw_microservice.bucket")

BUCKET_FAILURES: tuple[type[Exception], ...] = (BotoCoreError, ClientError, OSError)
"""What its methods raise when the store does not answer, or refuses."""

_HEADER_BYTES = 40 * 2880


class RawBucket:
    """List and identify raws of LSST cameras.

    Parameters
    ----------
    client : ``S3Client``
        The store.
    bucket : `str`
        Name of the bucket, or its ``s3://`` URI.
    """

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self.name = bucket.removeprefix("s3://").strip("/")

    def folders(self, instrument: str, nights: list[int]) -> list[tuple[int, str]]:
        """Return the exposures of some nights with their folders, the newest first.

        Parameters
        ----------
        instrument : `str`
            Short name.
        nights : `list` [`int`]
            Observing days, ``YYYYMMDD``.
        """
        found = []
        # No detector and no group: for these cameras a prefix holds the raws of a night.
        for prefix in visit_prefixes(instrument, 0, "", nights):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, Delimiter="/"
            )
            for page in pages:
                for item in page.get("CommonPrefixes", []):
                    if (exposure := _exposure_of(item["Prefix"])) is not None:
                        found.append((exposure, item["Prefix"]))
        return sorted(found, reverse=True)

    def raws(self, folder: str) -> Iterator[tuple[RawKey, float]]:
        """Return the raws of an exposure, with the times of their arrival.

        Parameters
        ----------
        folder : `str`
            As `folders` gives it.
        """
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=folder)
        for page in pages:
            for item in page.get("Contents", []):
                if (raw := RawKey.parse(item["Key"])) is not None:
                    yield raw, item["LastModified"].timestamp()

    def identify(self, raw: RawKey) -> ExposureIdentity | None:
        """Read which group a raw belongs to.

        Parameters
        ----------
        raw : `~prompt_processing.instruments.raw_key.RawKey`
            Any detector's raw of the exposure.

        Returns
        -------
        identity : `ExposureIdentity` or `None`
            `None` if neither the sidecar nor the image tells.
        """
        sidecar = self._get(raw.sidecar_key())
        if sidecar is not None:
            try:
                header = parse_json(sidecar)
                if isinstance(header, dict) and (identity := _identity(header)) is not None:
                    return identity
            except ValueError as error:
                _log.warning("The sidecar of %s cannot be read: %s", raw.key, error)
        start = self._get(raw.key, f"bytes=0-{_HEADER_BYTES - 1}")
        identity = None if start is None else _identity(_header(start, raw.key))
        if identity is None:
            _log.warning("Neither a sidecar nor the header of %s tells its group.", raw.key)
        return identity

    def _get(self, key: str, byte_range: str | None = None) -> bytes | None:
        options: dict[str, Any] = {} if byte_range is None else {"Range": byte_range}
        try:
            return self._client.get_object(Bucket=self.name, Key=key, **options)["Body"].read()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey", "NotFound"):
                return None
            raise


def _identity(header: Mapping[str, Any]) -> ExposureIdentity | None:
    group = header.get("GROUPID")
    if not isinstance(group, str) or not group:
        return None
    index, size = header.get("CURINDEX"), header.get("MAXINDEX")
    told = isinstance(index, int) and isinstance(size, int) and 1 <= index <= size
    return ExposureIdentity(group, index - 1 if told and isinstance(index, int) else None)


def _header(start: bytes, key: str) -> Mapping[str, Any]:
    try:
        if key.endswith(".gz"):
            start = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, _HEADER_BYTES)
    except zlib.error as error:
        _log.warning("%s is not compressed as its name tells: %s", key, error)
        return {}
    return find_cards(start, "GROUPID", "CURINDEX", "MAXINDEX")


def _exposure_of(folder: str) -> int | None:
    try:
        day, sequence = folder.rstrip("/").split("_")[-2:]
        return lsst_exposure_id(int(day), int(sequence))
    except ValueError:
        return None
