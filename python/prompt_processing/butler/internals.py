"""The one place that uses parts of the Butler without a public name.

`~prompt_processing.apdb.internals` is its counterpart for the APDB. A test compares `TESTED_VERSION` with
what is installed, and looks for each part by its name.
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
"""Version of lsst-daf-butler whose parts these are, without the day."""

_DISTRIBUTION = "lsst-daf-butler"


def datastore_parts(butler: Butler) -> tuple[Any, ...]:
    """Return the datastores that a chained datastore is made of, in order."""
    return tuple(_datastore(butler).datastores)


def put_into_datastore(
    butler: Butler, product: Any, ref: DatasetRef, provenance: DatasetProvenance | None
) -> None:
    """Store a dataset that the registry knows already; `Butler.put` would enter it there as well."""
    _datastore(butler).put(product, ref, provenance=provenance)


def file_uris(butler: Butler, refs: Iterable[DatasetRef]) -> Mapping[DatasetRef, Any]:
    """Return where the files of datasets are, also of those that exist in memory only."""
    found: Mapping[DatasetRef, Any] = _datastore(butler).getManyURIs(refs, predict=True, allow_missing=True)
    return found


def enter_datasets(butler: Butler, refs: Iterable[DatasetRef]) -> None:
    """Enter datasets of one set of dimensions in the registry with one statement, ids and runs as given."""
    internal(butler.registry, "_importDatasets", _DISTRIBUTION)(refs)


def files_of(butler: Butler) -> Butler:
    """Return a source for `Butler.transfer_from` that offers the files of a repository and no more.

    Of a whole repository, a transfer also asks what each run is about. Nobody reads that here, and it takes
    ten statements a run.
    """
    return cast(Butler, _FilesOf(butler))


class _FilesOf:
    def __init__(self, butler: Butler) -> None:
        self._file_transfer_source = internal(butler, "_file_transfer_source", _DISTRIBUTION)


def _datastore(butler: Butler) -> Any:
    return internal(butler, "_datastore", _DISTRIBUTION)
