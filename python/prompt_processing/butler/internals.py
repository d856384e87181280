"""The only module that uses private parts of the Butler.

`~prompt_processing.apdb.internals` is its counterpart for the APDB. A test compares `TESTED_VERSION` with
the installed version, and checks that each part exists.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, cast

import sqlalchemy.engine
import sqlalchemy.event
from lsst.daf.butler import (
    Butler,
    ButlerConfig,
    Config,
    DatasetId,
    DatasetProvenance,
    DatasetRef,
    DatasetType,
    DimensionConfig,
    DimensionUniverse,
    LimitedButler,
    Quantum,
    QuantumBackedButler,
    StorageClassFactory,
)
from lsst.daf.butler.datastore import Datastore, FileTransferMap
from lsst.daf.butler.datastore.record_data import DatastoreRecordData
from lsst.daf.butler.direct_butler import DirectButler
from lsst.daf.butler.registry import RegistryConfig
from lsst.daf.butler.registry.sql_registry import SqlRegistry
from lsst.resources import ResourcePath

from prompt_processing.domain.internals import internal

from .field_types import own_record
from .recorded_formatters import local_formatter

__all__ = [
    "TESTED_VERSION",
    "butler_of_quantum",
    "butler_without_datasets",
    "datastore_parts",
    "enter_datasets",
    "file_uris",
    "files_of",
    "make_repository_of_process",
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


def make_repository_of_process(root: str, config: Config, universe: DimensionUniverse) -> Butler:
    """Make a repository that ends with this process, and return its butler.

    Equivalent to `Butler.makeRepo` and `Butler.from_config`, which set the registry up twice while a worker
    starts. The database skips what only a crash needs: a visit makes a hundred small transactions, and with a
    journal each of them waits for the disk several times.

    Parameters
    ----------
    root
        Folder, which exists.
    config
        Configuration, without defaults. The registry is an SQLite database in the folder.
    universe
        Dimensions.
    """
    internal(Butler, "_make_repo_butler_config", _DISTRIBUTION)(root, config=config)
    full = ButlerConfig(root)
    with _without_journal(root):
        registry = SqlRegistry.createFromConfig(
            RegistryConfig(full), DimensionConfig(universe.dimensionConfig), full.configDir
        )
    try:
        # Connections that are made later.
        engine = internal(internal(registry, "_db", _DISTRIBUTION), "_engine", _DISTRIBUTION)
        sqlalchemy.event.listen(engine, "connect", _relax)
        datastore = Datastore.fromConfig(
            full, registry.getDatastoreBridgeManager(), butlerRoot=full.configDir
        )
        registry.make_datastore_tables(datastore.get_opaque_table_definitions())
        storage_classes = StorageClassFactory()
        storage_classes.addFromConfig(full)
        return DirectButler(
            config=full, registry=registry, datastore=datastore, storageClasses=storage_classes
        )
    # Any failure: the database would stay open.
    except Exception:
        registry.close()
        raise


@contextmanager
def _without_journal(folder: str) -> Iterator[None]:
    """Relax the database of a folder at each connection during a block, before anybody has its engine."""

    def relax(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            ((_, _, file),) = connection.execute("PRAGMA database_list").fetchall()
            if Path(file).parent == Path(folder).resolve():
                _relax(connection, record)

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", relax)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "connect", relax)


def _relax(connection: sqlite3.Connection, record: Any) -> None:
    connection.execute("PRAGMA synchronous = OFF").close()
    connection.execute("PRAGMA journal_mode = MEMORY").close()


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
