"""Content of the local repositories of a pod's workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lsst.daf.butler import Butler, MissingDatasetTypeError

from prompt_processing.butler.internals import file_uris
from prompt_processing.butler.opening import open_repository
from prompt_processing.butler.types import use_butler_types
from prompt_processing.transport.private_folder import require_private


@dataclass(frozen=True)
class TypeContent:
    """Datasets of one type.

    Attributes
    ----------
    name, storage_class
        The dataset type.
    datasets
        Number of datasets that the repository knows.
    files
        Number of datasets that are files; the others are in the worker's memory.
    size
        Size of the files, bytes.
    """

    name: str
    storage_class: str
    datasets: int
    files: int
    size: int


@dataclass(frozen=True)
class RepositoryContent:
    """Content of one worker's repository.

    Attributes
    ----------
    path
        Path of the repository.
    universe
        Namespace and version of its dimension universe.
    types
        Dataset types with datasets, by name.
    size
        Size of the whole folder, including the database, bytes.
    """

    path: Path
    universe: str
    types: tuple[TypeContent, ...]
    size: int


def find_repositories(parent: str) -> list[Path]:
    """Find workers' local repositories.

    Parameters
    ----------
    parent
        ``LOCAL_REPOS``.
    """
    return sorted(path.parent for path in Path(parent).glob("butler-????????/butler.yaml"))


def read_content(path: Path) -> RepositoryContent:
    """Read the content of a repository without writing to it.

    Parameters
    ----------
    path
        The repository; its worker may be using it.

    Raises
    ------
    OSError
        Raised if the repository is missing, or if another user could have written to it.
    """
    require_private(path)
    use_butler_types()
    butler = open_repository(str(path))
    try:
        universe = butler.dimensions
        types = tuple(
            found
            for dataset_type in sorted(butler.registry.queryDatasetTypes(), key=lambda one: one.name)
            if (found := _content_of(butler, dataset_type.name, dataset_type.storageClass_name)).datasets
        )
    finally:
        butler.close()
    return RepositoryContent(path, f"{universe.namespace} {universe.version}", types, sum(_sizes(path)))


def _content_of(butler: Butler, name: str, storage_class: str) -> TypeContent:
    try:
        refs = set(butler.registry.queryDatasets(name, collections="*", findFirst=False))
    except MissingDatasetTypeError:
        refs = set()
    size = n_files = 0
    if refs:
        for uris in file_uris(butler, refs).values():
            for uri in uris.iter_all():
                if uri.scheme != "file" or uri.fragment == "predicted":
                    continue
                try:
                    size += os.stat(uri.ospath).st_size
                    n_files += 1
                except FileNotFoundError:
                    # The worker has removed it in the meantime.
                    continue
    return TypeContent(name, storage_class, len(refs), n_files, size)


def _sizes(folder: Path) -> Iterator[int]:
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
