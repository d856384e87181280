"""Upload visits from the pool of raws, as the telescope and its image writer do."""

from __future__ import annotations

import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_processing.instruments import load_instrument

from .image_writer import SourceRaw, UploadedRaw
from .pool import PoolGroup, find_groups
from .settings import TesterOptions, make_announcer, make_image_writer, open_bucket
from .visit import SAL_INDEX_OF_NORMAL_VISITS, Telescope

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["PoolUpload", "draw", "sal_index_of", "upload_pool"]

_log = logging.getLogger("lsst.tester")


@dataclass(frozen=True, slots=True)
class PoolUpload:
    """Selection of visits from the pool, and when to take them.

    Attributes
    ----------
    instrument
        Short name.
    n_groups
        Number of visits.
    users_bucket
        Bucket of the pool.
    seed
        Seed of the random order; `None` to take visits in the order of their exposures.
    pause
        Seconds between the end of a visit and the announcement of the next.
    step
        Whether to wait for a line on standard input before each visit.
    manifest
        File to which a line of JSON is appended for each raw, with its original and its new key.
    """

    instrument: str
    n_groups: int
    users_bucket: str
    seed: int | None = None
    pause: float = 0.0
    step: bool = False
    manifest: Path | None = None


def upload_pool(upload: PoolUpload, options: TesterOptions) -> None:
    """Take visits from the pool, as the telescope and its image writer do.

    Raises
    ------
    PoolError, PublishError, SchemaRegistryError, RawError
        Raised if the pool, the event stream, the schema registry or a raw is unusable.
    botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
        Raised if the store fails.
    """
    pool, users_bucket = open_bucket(upload.users_bucket)
    telescope = Telescope(
        *open_bucket(options.image_bucket),
        make_announcer(),
        make_image_writer(options).write,
        options.schedule,
        options.survey,
    )
    groups = draw(find_groups(pool, users_bucket, upload.instrument), upload.n_groups, upload.seed)
    for number, group in enumerate(groups):
        with tempfile.TemporaryDirectory(prefix="prompt-tester-") as folder:
            raws = _download(pool, users_bucket, group, Path(folder))
            if upload.step and not sys.stdin.readline():
                _log.info("No more lines on standard input: %d of %d visits taken", number, upload.n_groups)
                return
            if number and upload.pause:
                time.sleep(upload.pause)
            uploaded = telescope.take(raws, sal_index_of(upload.instrument, group))
        if upload.manifest is not None:
            _append(upload.manifest, uploaded)


def draw(groups: Sequence[PoolGroup], n_groups: int, seed: int | None) -> list[PoolGroup]:
    """Choose visits from the pool, repeating it if it has too few.

    Parameters
    ----------
    groups
        The pool, not empty.
    n_groups
        Number of visits.
    seed
        Seed of the random order; `None` to keep the pool's order.
    """
    order = list(groups)
    if seed is not None:
        random.Random(seed).shuffle(order)
    return [order[number % len(order)] for number in range(n_groups)]


def sal_index_of(instrument: str, group: PoolGroup) -> int:
    """Return the script queue to announce: the fan-out identifies test groups by their original exposure."""
    return group.exposure if load_instrument(instrument).document.test_groups else SAL_INDEX_OF_NORMAL_VISITS


def _download(s3: S3Client, bucket: str, group: PoolGroup, folder: Path) -> list[SourceRaw]:
    raws = [
        SourceRaw(raw.raw_key, folder / f"{number}.fits", snap)
        for snap, of_snap in enumerate(group.snaps)
        for number, raw in enumerate(of_snap, start=1000 * snap)
    ]
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda source, raw: s3.download_file(bucket, raw.object_key, str(source.path)),
                raws,
                group.raws,
            )
        )
    return raws


def _append(manifest: Path, uploaded: Sequence[UploadedRaw]) -> None:
    with manifest.open("a") as lines:
        for raw in uploaded:
            row = {
                "group": raw.group,
                "exposure": raw.key.exposure,
                "detector": raw.key.detector,
                "key": raw.key.key,
                "source": raw.source.key,
                "announced": raw.announced,
                "arrived": raw.arrived,
            }
            lines.write(json.dumps(row) + "\n")
