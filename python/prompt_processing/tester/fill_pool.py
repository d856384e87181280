"""Puts raws into the pool that ``upload.py`` draws from."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from prompt_processing.instruments import RawKey

from .settings import add_pool_argument, make_store

__all__ = ["main"]

_log = logging.getLogger("lsst.tester")


def main(arguments: Sequence[str] | None = None) -> int:
    """Upload raws to the pool; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="fill_pool.py",
        description="Upload raws, and the sidecars beside them, to the pool that upload.py draws from: "
        "unobserved/ of the users' bucket.",
        epilog="environment variables: S3_ENDPOINT_URL, USERS_BUCKET, and credentials as boto3 reads them",
    )
    parser.add_argument(
        "folder",
        type=Path,
        help="has each raw under the key of the image bucket, <INSTRUMENT>/...; simulate-night makes one",
    )
    add_pool_argument(parser)
    parser.add_argument(
        "--make-buckets",
        action="store_true",
        help="make this bucket and that of the images (IMAGE_BUCKET) first, if they are not there",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    keys = {
        path.relative_to(options.folder).as_posix(): path
        for path in sorted(options.folder.rglob("*"))
        if path.is_file()
    }
    raws = [key for key in keys if RawKey.parse(key) is not None]
    if not raws:
        _log.critical("There is no raw under %s whose path is a key of the image bucket.", options.folder)
        return 1
    store = make_store()

    def put(key: str) -> None:
        store.put_object(Bucket=options.users_bucket, Key=f"unobserved/{key}", Body=keys[key].read_bytes())

    try:
        if options.make_buckets:
            there = {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
            for bucket in {options.users_bucket, os.environ.get("IMAGE_BUCKET") or "rubin-pp-dev"} - there:
                store.create_bucket(Bucket=bucket)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, keys))
    except (BotoCoreError, ClientError) as error:
        _log.critical("The S3 store does not do as it should: %s", error)
        return 1
    _log.info("%d raws are in s3://%s/unobserved/", len(raws), options.users_bucket)
    return 0


if __name__ == "__main__":
    sys.exit(main())
