"""Uploads visits of HSC drawn from a Butler repository, with all their detectors, in parallel processes."""

from __future__ import annotations

import argparse
import functools
import logging
import multiprocessing
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from lsst.daf.butler import Butler, MissingCollectionError, MissingDatasetTypeError
from lsst.resources import ResourcePath

from prompt_processing.instruments import RawKey, format_raw_key
from prompt_processing.instruments.errors import RawError
from prompt_processing.transport.schema_registry import SchemaRegistryError

from .image_writer import Snap, SourceRaw, UploadedRaw
from .publish import PublishError
from .settings import (
    ENVIRONMENT_HELP,
    add_arguments,
    check_environment,
    make_announcer,
    make_image_writer,
    make_store,
    schedule,
)
from .visit import SAL_INDEX_OF_NORMAL_VISITS, Telescope

__all__ = ["NoVisitsError", "choose", "find_visits", "main"]

_log = logging.getLogger("lsst.tester")

_DESCRIPTION = """\
Play the telescope with visits of HSC from a Butler repository, each with all its detectors.

Visits are drawn at random from a collection, and uploaded as visits with new groups and exposure ids: each
is announced, then the telescope slews and exposes, then all its detectors are uploaded, several at once.
"""

_EXAMPLES = """\
examples:
  upload_hsc_rc2.py 3               three visits at random
  upload_hsc_rc2.py 10 --ordered    ten visits at random, in the order in which they were taken
  upload_hsc_rc2.py 1 --repo s3://bucket/repo --collection HSC/raw/all

"""


class NoVisitsError(RuntimeError):
    """The repository has no visits to draw from; the message names it."""


@dataclass(frozen=True, slots=True)
class RepositoryRaw:
    """A raw in a repository.

    Attributes
    ----------
    raw_key : `RawKey`
        What its key in the image bucket would have been.
    uri : `str`
        Where its file is.
    """

    raw_key: RawKey
    uri: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Upload visits; returns the exit status."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    try:
        with Butler.from_config(options.repo, writeable=False) as butler:
            visits = choose(
                find_visits(butler, options.collection), options.n_groups, options.seed, options.ordered
            )
        # Spawned: connections must not be shared with a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(options.processes, mp_context=context) as processes:
            _upload(visits, options, processes)
    except (NoVisitsError, PublishError, SchemaRegistryError, RawError, FileNotFoundError) as error:
        _log.critical("%s", error)
        return 1
    except (BotoCoreError, ClientError) as error:
        _log.critical("The S3 store does not do as it should: %s", error)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="upload_hsc_rc2.py",
        description=_DESCRIPTION,
        epilog=_EXAMPLES + ENVIRONMENT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("n_groups", type=int, metavar="n_groups", help="how many visits")
    parser.add_argument(
        "--repo",
        default=os.environ.get("RC2_REPO") or "/repo/main",
        help="the repository (default: %(default)s)",
    )
    parser.add_argument(
        "--collection", default="HSC/RC2/defaults", help="where the raws are (default: %(default)s)"
    )
    parser.add_argument(
        "--ordered", action="store_true", help="upload in the order in which the visits were taken"
    )
    parser.add_argument("--seed", type=int, help="draw the same visits with each run")
    parser.add_argument(
        "--processes",
        type=int,
        default=min(8, os.cpu_count() or 1),
        help="how many processes work on a visit (default: %(default)s)",
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    if options.n_groups < 1 or options.processes < 1:
        parser.error("the numbers of visits and processes are at least 1")
    check_environment(parser)
    return options


def find_visits(butler: Butler, collection: str) -> list[list[RepositoryRaw]]:
    """Find all visits of HSC, each with the raws of all its detectors.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The repository.
    collection : `str`
        Where the raws are.

    Returns
    -------
    visits : `list` [`list` [`RepositoryRaw`]]
        In the order of their exposures.

    Raises
    ------
    NoVisitsError
        There are none.
    """
    visits: dict[int, list[RepositoryRaw]] = {}
    try:
        refs = butler.query_datasets(
            "raw",
            collection,
            where="instrument = 'HSC' AND exposure.observation_type = 'science'",
            with_dimension_records=True,
            limit=None,
            explain=False,
        )
    except (MissingCollectionError, MissingDatasetTypeError) as error:
        raise NoVisitsError(f"No raws in {collection}: {error}") from error
    for ref in refs:
        exposure, detector = int(ref.dataId["exposure"]), int(ref.dataId["detector"])
        raw_key = format_raw_key(
            "HSC",
            detector,
            exposure,
            group=str(ref.dataId["group"]),
            physical_filter=str(ref.dataId["physical_filter"]),
        )
        visits.setdefault(exposure, []).append(RepositoryRaw(raw_key, str(butler.getURI(ref))))
    if not visits:
        raise NoVisitsError(f"No raws of science exposures of HSC in {collection}.")
    return [sorted(raws, key=lambda raw: raw.raw_key.detector) for _, raws in sorted(visits.items())]


def choose(
    visits: Sequence[list[RepositoryRaw]], n_groups: int, seed: int | None, ordered: bool
) -> list[list[RepositoryRaw]]:
    """Draw visits at random, each at most once as long as there are enough.

    Parameters
    ----------
    visits : sequence of `list` [`RepositoryRaw`]
        All there are, in the order in which they were taken.
    n_groups : `int`
        How many are wanted.
    seed : `int` or `None`
        Repeats a choice.
    ordered : `bool`
        Whether the chosen ones keep the order in which they were taken.
    """
    dice = random.Random(seed)
    chosen: list[int] = []
    while len(chosen) < n_groups:
        chosen += dice.sample(range(len(visits)), min(n_groups - len(chosen), len(visits)))
    return [visits[number] for number in (sorted(chosen) if ordered else chosen)]


def _upload(
    visits: Sequence[list[RepositoryRaw]], options: argparse.Namespace, processes: ProcessPoolExecutor
) -> None:
    telescope = Telescope(
        make_store(),
        options.image_bucket,
        make_announcer(),
        functools.partial(_write_in_processes, options, processes),
        schedule(options),
        options.survey,
    )
    for raws in visits:
        with tempfile.TemporaryDirectory(prefix="prompt-tester-") as folder:
            paths = [Path(folder) / f"{raw.raw_key.detector}.fits" for raw in raws]
            list(processes.map(_copy, [raw.uri for raw in raws], paths, chunksize=4))
            sources = [SourceRaw(raw.raw_key, path, 0) for raw, path in zip(raws, paths, strict=True)]
            telescope.take(sources, SAL_INDEX_OF_NORMAL_VISITS)


def _write_in_processes(
    options: argparse.Namespace, processes: ProcessPoolExecutor, raws: Sequence[SourceRaw], snap: Snap
) -> list[UploadedRaw]:
    shares = [share for number in range(options.processes) if (share := raws[number :: options.processes])]
    written = processes.map(functools.partial(_write_share, options, snap), shares)
    return [raw for share in written for raw in share]


def _write_share(options: argparse.Namespace, snap: Snap, raws: Sequence[SourceRaw]) -> list[UploadedRaw]:
    return make_image_writer(options, n_threads=4).write(raws, snap)


def _copy(uri: str, path: Path) -> None:
    ResourcePath(path).transfer_from(ResourcePath(uri), transfer="copy")


if __name__ == "__main__":
    sys.exit(main())
