"""Puts raws into the pool that testers draw from."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prompt_processing.instruments import RawKey

from .settings import make_store

__all__ = ["NoRawsError", "fill_pool"]


class NoRawsError(RuntimeError):
    """A folder has no raws; the message names it."""


def fill_pool(folder: Path, users_bucket: str, buckets_to_make: Iterable[str] = ()) -> int:
    """Upload raws, and the sidecars beside them, to ``unobserved/`` of a bucket.

    Parameters
    ----------
    folder
        Has each raw under its key of the image bucket, ``<INSTRUMENT>/...``.
    users_bucket
        Where the pool is.
    buckets_to_make
        Buckets that are made first if they are missing.

    Returns
    -------
    number
        Raws uploaded.

    Raises
    ------
    NoRawsError
        There are none.
    botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
        The store does not answer as it should.
    """
    keys = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    number = sum(RawKey.parse(key) is not None for key in keys)
    if not number:
        raise NoRawsError(f"There is no raw under {folder} whose path is a key of the image bucket.")
    store = make_store()
    if missing := set(buckets_to_make):
        missing -= {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
    for bucket in missing:
        store.create_bucket(Bucket=bucket)

    def put(key: str) -> None:
        store.put_object(Bucket=users_bucket, Key=f"unobserved/{key}", Body=keys[key].read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, keys))
    return number
