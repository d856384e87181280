"""Images that the quanta of a group pass on in memory, as at night."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lsst.daf.butler import DatasetProvenance, DatasetRef, Quantum, QuantumBackedButler, StorageClass

if TYPE_CHECKING:
    from lsst.pipe.base import InMemoryDatasetHandle

__all__ = ["HeldOutputs", "HoldingButler", "RepeatingButler"]


class HeldOutputs:
    """Outputs of a group's quanta that later quanta of the group read.

    They are files too. A file of an image has rounded pixels, which take less space, and is therefore not
    quite what the next task gets at night.

    Parameters
    ----------
    types
        Names of the dataset types to hold.
    quanta
        Quanta of the group, in their order.
    """

    def __init__(self, types: Iterable[str], quanta: Iterable[Quantum]) -> None:
        self.types = frozenset(types)
        self._objects: dict[uuid.UUID, InMemoryDatasetHandle] = {}
        self._last_reader: dict[uuid.UUID, int] = {}
        for number, quantum in enumerate(quanta):
            self._last_reader.update((one, number) for one in self.inputs(quantum))

    def inputs(self, quantum: Quantum) -> set[uuid.UUID]:
        """Return the inputs of a quantum that are of the types to hold."""
        return {
            ref.id
            for name, refs in quantum.inputs.items()
            if name.nameAndComponent()[0] in self.types
            for ref in refs
        }

    def products(self, quantum: Quantum) -> set[uuid.UUID]:
        """Return the outputs of a quantum that are of the types to hold."""
        return {ref.id for name, refs in quantum.outputs.items() if name.name in self.types for ref in refs}

    def hold(self, product: Any, ref: DatasetRef, storage_class: str) -> None:
        """Keep a product, if a quantum of the group reads it."""
        if ref.id in self._last_reader:
            from lsst.pipe.base import InMemoryDatasetHandle

            self._objects[ref.id] = InMemoryDatasetHandle(product, storageClass=storage_class)

    def find(self, ref: DatasetRef) -> InMemoryDatasetHandle | None:
        """Return a product that is held."""
        return self._objects.get(ref.id)

    def finish(self, number: int) -> None:
        """Release the products that no quantum after this one reads."""
        for one in [one for one in self._objects if self._last_reader[one] <= number]:
            del self._objects[one]


class HoldingButler(QuantumBackedButler):
    """The Butler of a quantum whose products are held for the quanta that follow.

    Parameters
    ----------
    *arguments, **options
        As of the base class.
    held
        Where the products are.
    storage_classes
        Storage classes of the task's outputs, by dataset type.
    """

    def __init__(
        self, *arguments: Any, held: HeldOutputs, storage_classes: Mapping[str, str], **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._held = held
        self._written_as = storage_classes

    def get(
        self,
        ref: DatasetRef,
        /,
        *,
        parameters: dict[str, Any] | None = None,
        storageClass: StorageClass | str | None = None,
    ) -> Any:
        """Return a held product, or read a file."""
        found = self._held.find(ref)
        if found is None:
            return super().get(ref, parameters=parameters, storageClass=storageClass)
        return found.get(
            component=ref.datasetType.component(),
            parameters=parameters,
            storageClass=storageClass or ref.datasetType.storageClass,
        )

    def put(self, obj: Any, ref: DatasetRef, /, *, provenance: DatasetProvenance | None = None) -> DatasetRef:
        """Write a file, and hold the product if it is read again."""
        written = super().put(obj, ref, provenance=provenance)
        self._hold(obj, ref)
        return written

    def _hold(self, obj: Any, ref: DatasetRef) -> None:
        written_as = self._written_as.get(ref.datasetType.name, ref.datasetType.storageClass_name)
        self._held.hold(obj, ref, written_as)


class RepeatingButler(HoldingButler):
    """The Butler of a quantum that is repeated for what it holds in memory; it writes nothing."""

    def put(self, obj: Any, ref: DatasetRef, /, *, provenance: DatasetProvenance | None = None) -> DatasetRef:
        """Hold the product if it is read again."""
        self._hold(obj, ref)
        return ref
