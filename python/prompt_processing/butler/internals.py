"""The only module that uses private parts of the Butler.

`~prompt_processing.apdb.internals` is its counterpart for the APDB. A test compares `TESTED_VERSION` with
the installed version, and checks that each part exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from lsst.daf.butler import Butler, DatasetProvenance, DatasetRef

from prompt_processing.domain.internals import internal

__all__ = [
    "TESTED_VERSION",
    "datastore_parts",
    "enter_datasets",
    "file_uris",
    "files_of",
    "put_into_datastore",
]

TESTED_VERSION = "30.2026.43"
"""Version of lsst-daf-butler, without the day, against which these parts are tested."""

_DISTRIBUTION = "lsst-daf-butler"


def datastore_parts(butler: Butler) -> tuple[Any, ...]:
    """Return the members of a chained datastore, in order."""
    return tuple(_datastore(butler).datastores)


def put_into_datastore(
    butler: Butler, product: Any, ref: DatasetRef, provenance: DatasetProvenance | None
) -> None:
    """Store a dataset that is already in the registry; `Butler.put` would enter it there again."""
    _datastore(butler).put(product, ref, provenance=provenance)


def file_uris(butler: Butler, refs: Iterable[DatasetRef]) -> Mapping[DatasetRef, Any]:
    """Return the file URIs of datasets; for datasets in memory, the URIs that they would have."""
    found: Mapping[DatasetRef, Any] = _datastore(butler).getManyURIs(refs, predict=True, allow_missing=True)
    return found


def enter_datasets(butler: Butler, refs: Iterable[DatasetRef]) -> None:
    """Enter datasets with the same dimensions in the registry in one statement, keeping ids and runs."""
    internal(butler.registry, "_importDatasets", _DISTRIBUTION)(refs)


def files_of(butler: Butler) -> Butler:
    """Return a source for `Butler.transfer_from` that offers only the files of a repository.

    From a whole repository, a transfer also reads the description of each run. That takes ten statements per
    run, and nothing uses it here.
    """
    return cast(Butler, _FilesOf(butler))


class _FilesOf:
    def __init__(self, butler: Butler) -> None:
        self._file_transfer_source = internal(butler, "_file_transfer_source", _DISTRIBUTION)


def _datastore(butler: Butler) -> Any:
    return internal(butler, "_datastore", _DISTRIBUTION)
