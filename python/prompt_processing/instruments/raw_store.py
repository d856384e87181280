"""List raws in an object store, and read their identities before download."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from prompt_processing.domain.json_text import parse_json
from prompt_processing.transport.s3 import split_bucket

from .fits_cards import find_cards
from .raw_key import RawKey, lsst_exposure_id

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.paginator import ListObjectsV2Paginator

__all__ = ["STORE_FAILURES", "ExposureIdentity", "RawStore", "exposure_of_folder"]

_log = logging.getLogger("lsst.instruments.raw_store")

STORE_FAILURES: tuple[type[Exception], ...] = (BotoCoreError, ClientError, OSError)
"""Errors that the methods raise if the store does not respond or rejects a request."""

_HEADER_BYTES = 40 * 2880
"""Bytes to read from a raw without a sidecar; a primary header has at most about 400 cards."""


@dataclass(frozen=True, slots=True)
class ExposureIdentity:
    """Identity of an exposure, from the header of any of its raws.

    Attributes
    ----------
    group
        Group of the visit.
    snap
        Index from 0; `None` if the header does not say.
    """

    group: str
    snap: int | None


class RawStore:
    """Bucket of raws.

    Parameters
    ----------
    client
        The store, or a function that makes its client with the first request: what a client loads takes
        longer than the request.
    bucket
        Name of the bucket, or its ``s3://`` URI, which may name a profile: ``s3://profile@bucket``.

    Attributes
    ----------
    name
        Name of the bucket.
    uri
        URI of the bucket, including the profile, without a trailing slash.
    """

    def __init__(self, client: S3Client | Callable[[], S3Client], bucket: str) -> None:
        self._made_or_maker = client
        profile, self.name = split_bucket(bucket)
        self.uri = f"s3://{profile}@{self.name}" if profile else f"s3://{self.name}"

    @cached_property
    def _client(self) -> S3Client:
        made = self._made_or_maker
        return made() if callable(made) else made

    @property
    def _lister(self) -> ListObjectsV2Paginator:
        return self._client.get_paginator("list_objects_v2")

    def objects(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Yield the keys with a prefix and the arrival times of their objects, Unix seconds, UTC."""
        for page in self._lister.paginate(Bucket=self.name, Prefix=prefix):
            for item in page.get("Contents", []):
                yield item["Key"], item["LastModified"].timestamp()

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the prefixes that extend a prefix up to the next slash."""
        for page in self._lister.paginate(Bucket=self.name, Prefix=prefix, Delimiter="/"):
            for item in page.get("CommonPrefixes", []):
                yield item["Prefix"]

    def modified(self, key: str) -> float | None:
        """Return the arrival time of an object, Unix seconds, UTC; `None` if it does not exist."""
        try:
            return self._client.head_object(Bucket=self.name, Key=key)["LastModified"].timestamp()
        except ClientError as error:
            if _is_missing(error):
                return None
            raise

    def identify(self, raw: RawKey) -> ExposureIdentity | None:
        """Read the visit of an exposure.

        Parameters
        ----------
        raw
            Any detector's raw of the exposure.

        Returns
        -------
        identity
            `None` if neither the sidecar nor the image has it.
        """
        sidecar = self._read(raw.sidecar_key())
        if sidecar is not None:
            try:
                cards = parse_json(sidecar)
            except ValueError as error:
                _log.warning(
                    "The sidecar of %s is not JSON; reading the raw's header instead: %s", raw.key, error
                )
            else:
                if isinstance(cards, dict) and (identity := _identity(cards)) is not None:
                    return identity
                _log.warning("The sidecar of %s has no group; reading the raw's header instead.", raw.key)
        # The sidecar usually arrives first, but this is not guaranteed.
        start = self._read(raw.key, f"bytes=0-{_HEADER_BYTES - 1}")
        if start is None:
            return None
        identity = _identity(_header_cards(start, raw.key))
        if identity is None:
            _log.warning("Neither the sidecar nor the header of %s names its group.", raw.key)
        return identity

    def _read(self, key: str, byte_range: str | None = None) -> bytes | None:
        options: dict[str, Any] = {} if byte_range is None else {"Range": byte_range}
        try:
            return self._client.get_object(Bucket=self.name, Key=key, **options)["Body"].read()
        except ClientError as error:
            if _is_missing(error):
                return None
            if error.response.get("Error", {}).get("Code") == "InvalidRange":
                # The object is empty: a part of nothing cannot be asked for.
                return b""
            raise


def exposure_of_folder(folder: str) -> int | None:
    """Return the LSST exposure of a folder ``.../<controller>_<day>_<sequence>/``."""
    try:
        day, sequence = folder.rstrip("/").split("_")[-2:]
        return lsst_exposure_id(int(day), int(sequence))
    except ValueError:
        return None


def _identity(cards: Mapping[str, Any]) -> ExposureIdentity | None:
    group = cards.get("GROUPID")
    # Some software writes groups of digits without quotation marks.
    if not isinstance(group, str | int) or isinstance(group, bool) or group == "":
        return None
    index, size = cards.get("CURINDEX"), cards.get("MAXINDEX")
    told = isinstance(index, int) and isinstance(size, int) and 1 <= index <= size
    return ExposureIdentity(str(group), index - 1 if told and isinstance(index, int) else None)


def _header_cards(start: bytes, key: str) -> Mapping[str, Any]:
    try:
        if key.endswith(".gz"):
            start = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, _HEADER_BYTES)
    except zlib.error as error:
        _log.warning("%s is not compressed as its name says: %s", key, error)
        return {}
    return find_cards(start, "GROUPID", "CURINDEX", "MAXINDEX")


def _is_missing(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey", "NotFound")
