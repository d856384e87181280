"""Upload HSC visits from a Butler repository, with all their detectors, in parallel processes."""

from __future__ import annotations

import functools
import multiprocessing
import random
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from lsst.daf.butler import Butler, MissingCollectionError, MissingDatasetTypeError
from lsst.resources import ResourcePath

from prompt_processing.butler.opening import open_repository
from prompt_processing.instruments import RawKey, format_raw_key
from prompt_processing.instruments.errors import RawFileError

from .image_writer import Snap, SourceRaw, UploadedRaw
from .settings import TesterOptions, make_announcer, make_image_writer, open_bucket
from .visit import SAL_INDEX_OF_NORMAL_VISITS, Telescope

__all__ = ["NoVisitsError", "RepositoryUpload", "choose", "find_visits", "upload_repository"]


class NoVisitsError(RuntimeError):
    """The repository has no HSC visits; the message names the collection."""


@dataclass(frozen=True, slots=True)
class RepositoryRaw:
    """A raw in a repository.

    Attributes
    ----------
    raw_key
        The raw's key in the image bucket.
    uri
        URI of its file.
    """

    raw_key: RawKey
    uri: str


@dataclass(frozen=True, slots=True)
class RepositoryUpload:
    """Selection of visits from a repository.

    Attributes
    ----------
    n_groups
        Number of visits.
    repo
        The repository.
    collection
        Collection of the raws.
    seed
        Seed of the random choice.
    ordered
        Whether to upload the visits in the order they were taken.
    processes
        Number of processes that work on a visit.
    """

    n_groups: int
    repo: str
    collection: str
    seed: int | None = None
    ordered: bool = False
    processes: int = 1


def upload_repository(upload: RepositoryUpload, options: TesterOptions) -> None:
    """Take HSC visits from a Butler repository, each with all its detectors.

    Raises
    ------
    NoVisitsError, PublishError, SchemaRegistryError, RawError
        Raised if the repository, the event stream, the schema registry or a raw is unusable.
    FileNotFoundError
        Raised if the repository does not exist.
    botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
        Raised if the store fails.
    """
    with open_repository(upload.repo) as butler:
        visits = choose(find_visits(butler, upload.collection), upload.n_groups, upload.seed, upload.ordered)
    # Spawned, since a fork would share connections.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(upload.processes, mp_context=context) as processes:
        _upload(visits, options, upload.processes, processes)


def find_visits(butler: Butler, collection: str) -> list[list[RepositoryRaw]]:
    """Find all HSC visits, each with the raws of all its detectors.

    Parameters
    ----------
    butler
        The repository.
    collection
        Collection of the raws.

    Returns
    -------
    visits
        Visits in the order of their exposures.

    Raises
    ------
    NoVisitsError
        Raised if there are none.
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
    """Draw visits at random, without repetition if there are enough.

    Parameters
    ----------
    visits
        All visits, in the order they were taken.
    n_groups
        Number of visits to draw.
    seed
        Seed of the random choice.
    ordered
        Whether to return the visits in the order they were taken.
    """
    dice = random.Random(seed)
    chosen: list[int] = []
    while len(chosen) < n_groups:
        chosen += dice.sample(range(len(visits)), min(n_groups - len(chosen), len(visits)))
    return [visits[number] for number in (sorted(chosen) if ordered else chosen)]


def _upload(
    visits: Sequence[list[RepositoryRaw]],
    options: TesterOptions,
    n_processes: int,
    processes: ProcessPoolExecutor,
) -> None:
    telescope = Telescope(
        *open_bucket(options.image_bucket),
        make_announcer(),
        functools.partial(_write_in_processes, options, n_processes, processes),
        options.schedule,
        options.survey,
    )
    for raws in visits:
        with tempfile.TemporaryDirectory(prefix="prompt-tester-") as folder:
            paths = [Path(folder) / f"{raw.raw_key.detector}.fits" for raw in raws]
            list(processes.map(copy_raw, [raw.uri for raw in raws], paths, chunksize=4))
            sources = [SourceRaw(raw.raw_key, path, 0) for raw, path in zip(raws, paths, strict=True)]
            telescope.take(sources, SAL_INDEX_OF_NORMAL_VISITS)


def _write_in_processes(
    options: TesterOptions,
    n_processes: int,
    processes: ProcessPoolExecutor,
    raws: Sequence[SourceRaw],
    snap: Snap,
) -> list[UploadedRaw]:
    shares = [share for number in range(n_processes) if (share := raws[number::n_processes])]
    written = processes.map(functools.partial(_write_share, options, snap), shares)
    return [raw for share in written for raw in share]


def _write_share(options: TesterOptions, snap: Snap, raws: Sequence[SourceRaw]) -> list[UploadedRaw]:
    return make_image_writer(options, n_threads=4).write(raws, snap)


def copy_raw(uri: str, path: Path) -> None:
    """Copy a raw from a repository, which may hold it as a member of a ZIP archive.

    Parameters
    ----------
    uri
        URI of the raw; of a member, that of the archive with the fragment ``zip-path=<member>``.
    path
        Destination.

    Raises
    ------
    RawFileError
        Raised if the archive has no such member.
    """
    source = ResourcePath(uri)
    _, marked, member = source.unquoted_fragment.partition("zip-path=")
    if not marked:
        ResourcePath(path).transfer_from(source, transfer="copy")
        return
    try:
        # Only the archive's directory and this member are read.
        with (
            source.replace(fragment="").open("rb") as file,
            zipfile.ZipFile(cast(IO[bytes], file)) as archive,
        ):
            path.write_bytes(archive.read(member))
    except (KeyError, zipfile.BadZipFile) as error:
        raise RawFileError(uri, f"the archive has no readable member {member}: {error}") from error
