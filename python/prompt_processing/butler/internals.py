"""The only module that uses private parts of the Butler.

`~prompt_processing.apdb.internals` is its counterpart for the APDB. A test compares `TESTED_VERSION` with
the installed version, and checks that each part exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, cast

import sqlalchemy.event
from lsst.daf.butler import (
    Butler,
    DatasetId,
    DatasetProvenance,
    DatasetRef,
    DatasetType,
    LimitedButler,
    Quantum,
    QuantumBackedButler,
)
from lsst.daf.butler.datastore import FileTransferMap
from lsst.daf.butler.datastore.record_data import DatastoreRecordData
from lsst.resources import ResourcePath

from prompt_processing.domain.internals import internal

from .field_types import own_record
from .recorded_formatters import local_formatter

__all__ = [
    "TESTED_VERSION",
    "butler_of_quantum",
    "butler_without_datasets",
    "datastore_parts",
    "end_with_process",
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


def end_with_process(butler: Butler) -> None:
    """Let the database of a repository that no other process will read skip what only a crash needs.

    A visit makes a hundred small transactions. With a journal each of them waits for the disk several times.
    """
    registry = internal(butler, "_registry", _DISTRIBUTION)
    engine = internal(internal(registry, "_db", _DISTRIBUTION), "_engine", _DISTRIBUTION)
    if engine.dialect.name != "sqlite":
        return

    def relax(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = OFF")
        cursor.execute("PRAGMA journal_mode = MEMORY")
        cursor.close()

    sqlalchemy.event.listen(engine, "connect", relax)
    # Connections made before are replaced.
    engine.dispose()


def enter_datasets(butler: Butler, refs: Iterable[DatasetRef]) -> None:
    """Enter datasets with the same dimensions in the registry in one statement, keeping ids and runs."""
    internal(butler.registry, "_importDatasets", _DISTRIBUTION)(refs)


def files_of(butler: Butler) -> Butler:
    """Return a source for `Butler.transfer_from` that offers only the files of a repository.

    The copies are read by formatters that this process has (see `.recorded_formatters`). From a whole
    repository, a transfer also reads the description of each run. That takes ten statements per run, and
    nothing uses it here.
    """
    return cast(Butler, _FilesOf(butler))


def butler_without_datasets(butler: Butler) -> QuantumBackedButler:
    """Return a Butler for the files of the same repository that knows none of them yet.

    `butler_of_quantum` serves the datasets of a quantum with it.
    """
    config = internal(butler, "_config", _DISTRIBUTION)
    return QuantumBackedButler.from_predicted(
        config, predicted_inputs=(), predicted_outputs=(), dimensions=butler.dimensions, datastore_records={}
    )


@contextmanager
def butler_of_quantum(
    empty: QuantumBackedButler,
    quantum: Quantum,
    types: Mapping[str, DatasetType],
    make: Callable[..., QuantumBackedButler] = QuantumBackedButler,
) -> Iterator[QuantumBackedButler]:
    """Make a Butler for the datasets of one quantum, with the datastore of a Butler that has none.

    A datastore of its own would take as long to make as a short quantum takes to execute. The records of the
    quantum are removed at the end. What its task takes as a type of ours is read as at night: the classes of
    ``lsst-images`` take longer, and derive a WCS that differs in its last digits.

    Parameters
    ----------
    empty
        Butler without datasets. It serves one quantum at a time.
    types
        Dataset types as in the registry, by name.
    make
        What makes the Butler, with the arguments of the class.
    """
    datastore = _datastore(empty)
    inputs = [*chain.from_iterable(quantum.inputs.values()), *quantum.initInputs.values()]
    outputs = [*chain.from_iterable(quantum.outputs.values())]
    if quantum.datastore_records is not None:
        datastore.import_records(_with_own_readers(quantum.datastore_records, inputs))
    try:
        yield make(
            [ref.id for ref in inputs],
            [ref.id for ref in outputs],
            empty.dimensions,
            datastore,
            empty.storageClasses,
            dataset_types=types,
        )
    finally:
        datastore.forget([*inputs, *outputs])


def _with_own_readers(
    recorded: Mapping[str, DatastoreRecordData], refs: Iterable[DatasetRef]
) -> dict[str, DatastoreRecordData]:
    """Return the records of files, with our readers for those that are wanted as types of ours."""
    wanted = {ref.id: ref.datasetType.storageClass_name for ref in refs}

    def reader(identity: DatasetId, info: Any) -> Any:
        own, _ = own_record(info.storageClass.name, str(info.formatter))
        return _read_here(info) if own == wanted.get(identity) else info

    return {
        name: DatastoreRecordData(
            records={
                identity: {
                    table: [reader(identity, info) for info in infos] for table, infos in tables.items()
                }
                for identity, tables in data.records.items()
            }
        )
        for name, data in recorded.items()
    }


class _FilesOf:
    def __init__(self, butler: Butler) -> None:
        self._file_transfer_source = _WithLocalFormatters(
            internal(butler, "_file_transfer_source", _DISTRIBUTION)
        )


class _WithLocalFormatters:
    """Files of a repository, with formatters that read them here."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.name = source.name

    def get_file_info_for_transfer(self, dataset_ids: Iterable[DatasetId]) -> FileTransferMap:
        return _with_local_formatters(self._source.get_file_info_for_transfer(dataset_ids))

    def locate_missing_files_for_transfer(
        self, refs: Iterable[DatasetRef], artifact_existence: dict[ResourcePath, bool]
    ) -> FileTransferMap:
        return _with_local_formatters(
            self._source.locate_missing_files_for_transfer(refs, artifact_existence)
        )


def _with_local_formatters(found: FileTransferMap) -> FileTransferMap:
    return {
        identity: [record._replace(file_info=_read_here(record.file_info)) for record in records]
        for identity, records in found.items()
    }


def _read_here(info: Any) -> Any:
    """Return the record of a file with a storage class and a formatter that the worker has."""
    storage_class, formatter = own_record(info.storageClass.name, str(info.formatter))
    if storage_class != info.storageClass.name:
        return info.update(formatter=formatter, storage_class_name=storage_class)
    return info.update(formatter=local_formatter(formatter))


def _datastore(butler: LimitedButler) -> Any:
    return internal(butler, "_datastore", _DISTRIBUTION)
