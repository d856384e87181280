"""Upload raws to the pool that testers draw from."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prompt_processing.instruments import RawKey

from .settings import open_bucket

__all__ = ["NoRawsError", "fill_pool"]


class NoRawsError(RuntimeError):
    """A folder has no raws; the message names it."""


def fill_pool(folder: Path, users_bucket: str, buckets_to_make: Iterable[str] = ()) -> int:
    """Upload raws and their sidecars to ``unobserved/`` in a bucket.

    Parameters
    ----------
    folder
        Folder with each raw under its key in the image bucket, ``<INSTRUMENT>/...``.
    users_bucket
        Bucket of the pool: its name or URI, which may name a profile.
    buckets_to_make
        Buckets to create first if they are missing.

    Returns
    -------
    number
        Number of raws uploaded.

    Raises
    ------
    NoRawsError
        Raised if the folder has no raws.
    botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
        Raised if the store fails.
    """
    keys = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    number = sum(RawKey.parse(key) is not None for key in keys)
    if not number:
        raise NoRawsError(f"{folder} holds no raw whose path is a key of the image bucket.")
    for address in set(buckets_to_make):
        owner, bucket = open_bucket(address)
        if bucket not in {known["Name"] for known in owner.list_buckets()["Buckets"]}:
            owner.create_bucket(Bucket=bucket)
    store, pool_bucket = open_bucket(users_bucket)

    def put(key: str) -> None:
        store.put_object(Bucket=pool_bucket, Key=f"unobserved/{key}", Body=keys[key].read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, keys))
    return number
