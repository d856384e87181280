"""Uploads visits drawn from the pool of raws, as the telescope and its image writer would."""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from prompt_processing.instruments.errors import RawError
from prompt_processing.transport.schema_registry import SchemaRegistryError

from .image_writer import SourceRaw, UploadedRaw
from .pool import PoolError, PoolGroup, find_groups
from .publish import PublishError
from .settings import (
    ENVIRONMENT_HELP,
    add_arguments,
    add_pool_argument,
    check_environment,
    make_announcer,
    make_image_writer,
    make_store,
    schedule,
)
from .visit import SAL_INDEX_OF_NORMAL_VISITS, Telescope

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["main"]

_log = logging.getLogger("lsst.tester")

_INSTRUMENTS = ("HSC", "LATISS", "LSSTCam")

_DESCRIPTION = """\
Play the telescope: announce visits on Kafka and upload their raws to the image bucket.

Each visit is drawn from the pool under unobserved/<INSTRUMENT>/ of the users' bucket. It gets a new group
and a new exposure id, in the header, the key and the sidecar, so that the same raws can be used again and
again. The visit is announced, then the telescope slews (2 s) and exposes (18 s a snap), then the snap is
uploaded: first each sidecar, then its image.
"""

_EXAMPLES = """\
examples:
  upload.py LATISS 3                two seconds of slew, eighteen of exposure, three times
  upload.py HSC 2 --seed 1          two visits at random, the same ones with each run
  upload.py LSSTCam 1 --slew 0 --exposure 1 --publish-notices
                                    in a hurry, to a store that publishes no notices

"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Upload visits; returns the exit status."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        _upload(options)
    except (PoolError, PublishError, SchemaRegistryError, RawError) as error:
        _log.critical("%s", error)
        return 1
    except (BotoCoreError, ClientError) as error:
        _log.critical("The S3 store does not do as it should: %s", error)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="upload.py",
        description=_DESCRIPTION,
        epilog=_EXAMPLES + ENVIRONMENT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("instrument", choices=_INSTRUMENTS, help="camera whose raws are used")
    parser.add_argument("n_groups", type=_count, metavar="n_groups", help="how many visits")
    add_pool_argument(parser)
    parser.add_argument(
        "--seed",
        type=int,
        help="draw visits at random, repeatably; without it they are taken in the order of their exposures",
    )
    parser.add_argument(
        "--pause",
        type=float,
        default=0.0,
        help="seconds between the end of a visit and the announcement of the next (default: %(default)s)",
    )
    parser.add_argument(
        "--step",
        action="store_true",
        help="announce each visit only when a line comes on standard input",
    )
    parser.add_argument(
        "--manifest", type=Path, help="append a line of JSON to this file for each raw: what became of what"
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    check_environment(parser)
    return options


def _upload(options: argparse.Namespace) -> None:
    s3 = make_store()
    telescope = Telescope(
        s3,
        options.image_bucket,
        make_announcer(),
        make_image_writer(options).write,
        schedule(options),
        options.survey,
    )
    groups = draw(find_groups(s3, options.users_bucket, options.instrument), options.n_groups, options.seed)
    for number, group in enumerate(groups):
        with tempfile.TemporaryDirectory(prefix="prompt-tester-") as folder:
            raws = _download(s3, options.users_bucket, group, Path(folder))
            if options.step and not sys.stdin.readline():
                _log.info("No more lines: %d of %d visits taken", number, options.n_groups)
                return
            if number and options.pause:
                time.sleep(options.pause)
            uploaded = telescope.take(raws, sal_index_of(options.instrument, group))
        if options.manifest is not None:
            _append(options.manifest, uploaded)


def draw(groups: Sequence[PoolGroup], n_groups: int, seed: int | None) -> list[PoolGroup]:
    """Choose visits of the pool; if more are wanted than there are, it is gone through again.

    Parameters
    ----------
    groups : sequence of `PoolGroup`
        The pool, not empty.
    n_groups : `int`
        How many are wanted.
    seed : `int` or `None`
        Of the random order; None keeps the pool's own.
    """
    order = list(groups)
    if seed is not None:
        random.Random(seed).shuffle(order)
    return [order[number % len(order)] for number in range(n_groups)]


def sal_index_of(instrument: str, group: PoolGroup) -> int:
    """Return the script queue to announce: the fan-out knows test groups by their original exposure."""
    return SAL_INDEX_OF_NORMAL_VISITS if instrument == "LATISS" else group.exposure


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


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of visits")
    return value


if __name__ == "__main__":
    sys.exit(main())
