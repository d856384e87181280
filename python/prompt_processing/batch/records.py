"""Records of files in the memory of a process, without a database.

By default the Butler of a quantum, which asks no server, makes a SQLite database for its few records.
The statements for them take a third of the time that the middleware adds to a quantum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lsst.daf.butler import QuantumBackedButler
from lsst.daf.butler.datastore import DatastoreTransaction
from lsst.daf.butler.registry.bridge.ephemeral import EphemeralDatastoreRegistryBridge
from lsst.daf.butler.registry.interfaces import (
    DatastoreRegistryBridge,
    DatastoreRegistryBridgeManager,
    OpaqueTableStorage,
    OpaqueTableStorageManager,
)

if TYPE_CHECKING:
    import uuid

    from lsst.daf.butler import ButlerConfig, DatasetType, DimensionUniverse
    from lsst.daf.butler.ddl import TableSpec

__all__ = ["RecordTable", "butler_without_database"]

Row = dict[str, Any]


def butler_without_database(
    config: ButlerConfig | str,
    dimensions: DimensionUniverse,
    *,
    inputs: Iterable[uuid.UUID] = (),
    outputs: Iterable[uuid.UUID] = (),
    types: Mapping[str, DatasetType] | None = None,
) -> QuantumBackedButler:
    """Return a Butler for files whose records are in memory.

    Parameters
    ----------
    config
        Butler repository, or its configuration.
    inputs
        Datasets that may be read.
    outputs
        Datasets that may be written.
    types
        Dataset types as in the registry, by name.
    """
    return QuantumBackedButler.from_predicted(
        config,
        predicted_inputs=inputs,
        predicted_outputs=outputs,
        dimensions=dimensions,
        datastore_records={},
        OpaqueManagerClass=_Tables,
        BridgeManagerClass=_Bridges,
        dataset_types=types,
    )


class RecordTable(OpaqueTableStorage):
    """Rows of one table of a datastore, found by their dataset.

    Parameters
    ----------
    name
        Name of the table.
    key
        Columns of the primary key, ``dataset_id`` among them.
    """

    def __init__(self, name: str, key: Iterable[str]) -> None:
        super().__init__(name)
        self._key = tuple(key)
        self._rows: dict[Any, dict[tuple[Any, ...], Row]] = {}

    def insert(self, *data: Row, transaction: DatastoreTransaction | None = None) -> None:
        """Insert rows.

        Raises
        ------
        ValueError
            Raised if there is a row with the same key; none is inserted then.
        """
        for row in data:
            if self._identity(row) in self._rows.get(row["dataset_id"], ()):
                raise ValueError(f"table {self.name} has a row of dataset {row['dataset_id']} already")
        self._put(data, transaction)

    def ensure(self, *data: Row, transaction: DatastoreTransaction | None = None) -> None:
        """Insert the rows that are new."""
        new = [row for row in data if self._identity(row) not in self._rows.get(row["dataset_id"], ())]
        self._put(new, transaction)

    def replace(self, *data: Row, transaction: DatastoreTransaction | None = None) -> None:
        """Insert rows, in place of those with the same keys."""
        self._put(data, transaction)

    def fetch(self, **where: Any) -> Iterator[Row]:
        """Yield the rows whose columns have some value, one of several values, or begin with ``text%``."""
        conditions = {
            column: frozenset(value) if isinstance(value, (list, tuple, set)) else value
            for column, value in where.items()
        }
        datasets = conditions.pop("dataset_id", self._rows)
        if not isinstance(datasets, (frozenset, dict)):
            datasets = (datasets,)
        for one in list(datasets):
            for row in list(self._rows.get(one, {}).values()):
                if all(_matches(row[column], value) for column, value in conditions.items()):
                    yield row

    def fetch_batches(self, **where: Any) -> Iterator[Sequence[Row]]:
        """Yield all rows as one batch."""
        yield list(self.fetch(**where))

    def delete(self, columns: Iterable[str], *rows: Row) -> None:
        """Delete the rows that agree with one of some rows."""
        for wanted in rows:
            for row in list(self.fetch(**wanted)):
                self._remove([row])

    def _identity(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[column] for column in self._key)

    def _put(self, rows: Iterable[Row], transaction: DatastoreTransaction | None) -> None:
        for row in rows:
            self._rows.setdefault(row["dataset_id"], {})[self._identity(row)] = row
            if transaction is not None:
                transaction.registerUndo(f"insert into {self.name}", self._remove, [row])

    def _remove(self, rows: Iterable[Row]) -> None:
        for row in rows:
            of_dataset = self._rows.get(row["dataset_id"], {})
            of_dataset.pop(self._identity(row), None)
            if not of_dataset:
                self._rows.pop(row["dataset_id"], None)


def _matches(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, frozenset):
        return found in wanted
    if isinstance(wanted, str) and wanted.endswith("%"):
        return bool(found.startswith(wanted[:-1]))
    return bool(found == wanted)


class _Tables(OpaqueTableStorageManager):
    """The tables of a datastore."""

    def __init__(self) -> None:
        super().__init__()
        self._tables: dict[str, RecordTable] = {}

    @classmethod
    def initialize(cls, db: Any, context: Any, registry_schema_version: Any = None) -> _Tables:
        return cls()

    def get(self, name: str) -> RecordTable | None:
        return self._tables.get(name)

    def register(self, name: str, spec: TableSpec) -> RecordTable:
        key = [field.name for field in spec.fields if field.primaryKey]
        return self._tables.setdefault(name, RecordTable(name, key))

    def clone(self, db: Any) -> _Tables:
        raise NotImplementedError("records in memory belong to one Butler")

    @classmethod
    def currentVersions(cls) -> list[Any]:  # noqa: N802 - the base class names it
        return []


class _Bridge(EphemeralDatastoreRegistryBridge):
    """The datasets that a datastore has."""

    def moveToTrash(self, refs: Iterable[Any], transaction: DatastoreTransaction | None) -> None:  # noqa: N802
        # The base class needs a transaction; one that is never ended undoes nothing.
        super().moveToTrash([ref for ref in refs if ref in self], transaction or DatastoreTransaction())


class _Bridges(DatastoreRegistryBridgeManager):
    """The datastores of a Butler."""

    def __init__(self, opaque: OpaqueTableStorageManager, universe: DimensionUniverse) -> None:
        super().__init__(opaque=opaque, universe=universe)
        self._bridges: dict[str, _Bridge] = {}

    @classmethod
    def initialize(
        cls,
        db: Any,
        context: Any,
        *,
        opaque: OpaqueTableStorageManager,
        datasets: Any,
        universe: DimensionUniverse,
        registry_schema_version: Any = None,
    ) -> _Bridges:
        return cls(opaque, universe)

    def register(self, name: str, *, ephemeral: bool = True) -> DatastoreRegistryBridge:
        return self._bridges.setdefault(name, _Bridge(name))

    def findDatastores(self, ref: Any) -> Iterable[str]:  # noqa: N802 - the base class names it
        return [name for name, bridge in self._bridges.items() if ref in bridge]

    def refresh(self) -> None:
        """Do nothing: no other process has these records."""

    def clone(self, *, db: Any, opaque: OpaqueTableStorageManager) -> _Bridges:
        raise NotImplementedError("records in memory belong to one Butler")

    @classmethod
    def currentVersions(cls) -> list[Any]:  # noqa: N802 - the base class names it
        return []
