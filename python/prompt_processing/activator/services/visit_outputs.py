"""What a visit's tasks hand to each other, in memory until the alerts have left."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from lsst.daf.butler import (
    Butler,
    DatasetProvenance,
    DatasetRef,
    DimensionUniverse,
    LimitedButler,
    StorageClass,
)
from lsst.pipe.base import InMemoryDatasetHandle

from prompt_processing.butler.internals import enter_datasets, put_into_datastore

__all__ = ["VisitOutputs"]

_LOG = logging.getLogger("lsst.activator.services.visit_outputs")


class VisitOutputs(LimitedButler):
    """A butler for one pipeline of one visit: it reads from a repository and writes to memory.

    Entering a dataset in a repository takes a transaction of its database and
    often a file, and a pipeline has some fifty. None of them is needed by
    anybody else before the pipeline is through: `hand_over` enters all of them
    then, at once.

    Parameters
    ----------
    repository : `~lsst.daf.butler.Butler`
        Where the inputs are, and where the outputs go in the end.
    """

    def __init__(self, repository: Butler) -> None:
        self._repository = repository
        self._metrics = repository._metrics
        self.storageClasses = repository.storageClasses
        self._held: dict[UUID, tuple[DatasetRef, Any, DatasetProvenance | None]] = {}

    def isWriteable(self) -> bool:  # noqa: N802
        """Say that it takes datasets."""
        return True

    @property
    def dimensions(self) -> DimensionUniverse:
        """The repository's dimensions."""
        return self._repository.dimensions

    @property
    def _datastore(self) -> Any:
        return self._repository._datastore

    @_datastore.setter
    def _datastore(self, value: Any) -> None:
        raise AttributeError("The datastore is the repository's.")

    def put(self, obj: Any, ref: DatasetRef, /, *, provenance: DatasetProvenance | None = None) -> DatasetRef:
        """Hold an output.

        Parameters
        ----------
        obj : `object`
            The dataset; not copied.
        ref : `~lsst.daf.butler.DatasetRef`
            What it is.
        provenance : `~lsst.daf.butler.DatasetProvenance`, optional
            For the repository.

        Returns
        -------
        ref : `~lsst.daf.butler.DatasetRef`
            As given.
        """
        with self._metrics.instrument_put():
            self._held[ref.id] = (ref, ref.datasetType.storageClass.coerce_type(obj), provenance)
        return ref

    def get(
        self,
        ref: DatasetRef,
        /,
        *,
        parameters: dict[str, Any] | None = None,
        storageClass: StorageClass | str | None = None,
    ) -> Any:
        """Return an output that is held, itself and no copy, or else an input from the repository."""
        held = self._held.get(ref.id)
        if held is None:
            return self._repository.get(ref, parameters=parameters, storageClass=storageClass)
        written, obj, _ = held
        handle = InMemoryDatasetHandle(obj, storageClass=written.datasetType.storageClass, dataId=ref.dataId)
        with self._metrics.instrument_get():
            return handle.get(
                component=ref.datasetType.component(),
                parameters=parameters,
                storageClass=storageClass or ref.datasetType.storageClass,
            )

    def stored_many(self, refs: Iterable[DatasetRef]) -> dict[DatasetRef, bool]:
        """Say of some datasets which can be read."""
        wanted = list(refs)
        elsewhere = [ref for ref in wanted if ref.id not in self._held]
        stored = self._repository.stored_many(elsewhere) if elsewhere else {}
        return {ref: ref.id in self._held or stored[ref] for ref in wanted}

    def pruneDatasets(  # noqa: N802
        self,
        refs: Iterable[DatasetRef],
        *,
        disassociate: bool = True,
        unstore: bool = False,
        tags: Iterable[str] = (),
        purge: bool = False,
    ) -> None:
        """Forget outputs; those of the repository stay."""
        for ref in refs:
            self._held.pop(ref.id, None)

    def hand_over(self) -> None:
        """Enter everything that is held in the repository.

        It is no longer held afterwards: what the repository keeps in memory
        takes no room twice.
        """
        held, self._held = list(self._held.values()), {}
        together: dict[Any, list[DatasetRef]] = defaultdict(list)
        for ref, _, _ in held:
            together[ref.datasetType.dimensions].append(ref)
        # One statement for many, where `Butler.put` takes a transaction for each.
        for refs in together.values():
            enter_datasets(self._repository, refs)
        for ref, obj, provenance in held:
            put_into_datastore(self._repository, obj, ref, provenance)
        _LOG.debug("%d datasets entered in the local repository.", len(held))
