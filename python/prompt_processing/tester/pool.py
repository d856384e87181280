"""Pool of raws for testers: ``unobserved/<INSTRUMENT>/`` in the users' bucket."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from prompt_processing.domain.json_text import parse_json
from prompt_processing.instruments.raw_key import RawKey, has_night_keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["PoolError", "PoolGroup", "PoolRaw", "find_groups"]


class PoolError(RuntimeError):
    """The pool cannot be read, or holds no usable raw; the message names its location."""


@dataclass(frozen=True, slots=True)
class PoolRaw:
    """A raw of the pool.

    Attributes
    ----------
    raw_key
        The raw's key in the image bucket.
    object_key
        Key of the object in the users' bucket.
    """

    raw_key: RawKey
    object_key: str


@dataclass(frozen=True, slots=True)
class PoolGroup:
    """The raws of one visit.

    Attributes
    ----------
    name
        Group with which the raws were taken.
    snaps
        Raws by exposure, earliest first, and within each by detector.
    """

    name: str
    snaps: tuple[tuple[PoolRaw, ...], ...]

    @property
    def exposure(self) -> int:
        """Id of the first exposure."""
        return self.snaps[0][0].raw_key.exposure

    @property
    def raws(self) -> tuple[PoolRaw, ...]:
        """All raws, in the order of `snaps`."""
        return tuple(raw for snap in self.snaps for raw in snap)


def find_groups(s3: S3Client, bucket: str, instrument: str, folder: str = "unobserved") -> list[PoolGroup]:
    """Find the visits of the pool.

    Parameters
    ----------
    s3
        Client of the store.
    bucket
        The users' bucket.
    instrument
        Short name.
    folder
        Prefix of the pool.

    Returns
    -------
    groups
        Visits in the order of their exposures; not empty.

    Raises
    ------
    PoolError
        Raised if the bucket cannot be read, or holds no raw of the instrument.
    """
    prefix = f"{folder}/{instrument}/"
    by_exposure: dict[int, list[PoolRaw]] = defaultdict(list)
    keys = set()
    try:
        for key in list_keys(s3, bucket, prefix):
            keys.add(key)
            raw_key = RawKey.parse(key.removeprefix(f"{folder}/"))
            if raw_key is not None and raw_key.instrument == instrument:
                by_exposure[raw_key.exposure].append(PoolRaw(raw_key, key))
        by_group: dict[str, list[tuple[PoolRaw, ...]]] = defaultdict(list)
        for _, raws in sorted(by_exposure.items()):
            snap = tuple(sorted(raws, key=lambda raw: raw.raw_key.detector))
            by_group[_group_name(s3, bucket, folder, snap, keys)].append(snap)
    except (BotoCoreError, ClientError) as error:
        raise PoolError(f"Cannot read s3://{bucket}/{prefix}: {error}") from error
    if not by_group:
        raise PoolError(f"There is no raw of {instrument} under s3://{bucket}/{prefix}.")
    return [PoolGroup(name, tuple(snaps)) for name, snaps in by_group.items()]


def list_keys(s3: S3Client, bucket: str, prefix: str) -> Iterator[str]:
    """List the keys that begin with a prefix."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            yield entry["Key"]


def list_folders(s3: S3Client, bucket: str, prefix: str) -> Iterator[str]:
    """List the names between a prefix and the next slash, without listing the objects below them."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    for page in pages:
        for entry in page.get("CommonPrefixes", []):
            yield entry["Prefix"].removeprefix(prefix).removesuffix("/")


def _group_name(s3: S3Client, bucket: str, folder: str, snap: tuple[PoolRaw, ...], keys: set[str]) -> str:
    # LSST keys lack the group; the sidecar has it, and is much smaller than the image.
    first = snap[0].raw_key
    if not has_night_keys(first.instrument):
        return str(first.group)
    sidecars = (f"{folder}/{raw.raw_key.sidecar_key()}" for raw in snap)
    for sidecar in sidecars:
        if sidecar in keys:
            header: dict[str, Any] = parse_json(s3.get_object(Bucket=bucket, Key=sidecar)["Body"].read())
            if group := header.get("GROUPID"):
                return str(group)
    # Without a sidecar, each exposure counts as a separate visit.
    return str(first.exposure)
