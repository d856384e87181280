"""Hold the outputs of a visit's tasks in memory until the alerts are sent."""

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
from prompt_processing.images import Exposure
from prompt_processing.images.exposure import Loan

from .raws_read_ahead import RawsReadAhead

__all__ = ["VisitOutputs"]

_LOG = logging.getLogger("lsst.activator.services.visit_outputs")


class VisitOutputs(LimitedButler):
    """A butler for one pipeline of one visit that reads from a repository and writes to memory.

    Entering a dataset in a repository takes a database transaction and often
    a file, and a pipeline has some fifty outputs. Nothing else needs them
    before the pipeline ends. `hand_over` then enters all of them at once.

    Parameters
    ----------
    repository : `~lsst.daf.butler.Butler`
        Source of the inputs, and final destination of the outputs.
    raws : `~prompt_processing.activator.services.raws_read_ahead.RawsReadAhead`, optional
        Raws that are being read.
    """

    def __init__(self, repository: Butler, raws: RawsReadAhead | None = None) -> None:
        self._repository = repository
        self._raws = raws or RawsReadAhead()
        self._metrics = repository._metrics
        self.storageClasses = repository.storageClasses
        self._held: dict[UUID, tuple[DatasetRef, Any, DatasetProvenance | None]] = {}

    def isWriteable(self) -> bool:  # noqa: N802
        """Return `True`: this butler accepts datasets."""
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
        raise AttributeError("The datastore belongs to the repository and cannot be replaced here.")

    def put(self, obj: Any, ref: DatasetRef, /, *, provenance: DatasetProvenance | None = None) -> DatasetRef:
        """Hold an output.

        Parameters
        ----------
        obj : `object`
            The dataset; not copied. A task may modify an image that can be restored.
        ref : `~lsst.daf.butler.DatasetRef`
            Identity of the dataset.
        provenance : `~lsst.daf.butler.DatasetProvenance`, optional
            Provenance to record in the repository.

        Returns
        -------
        ref : `~lsst.daf.butler.DatasetRef`
            The same reference.
        """
        with self._metrics.instrument_put():
            output = ref.datasetType.storageClass.coerce_type(obj)
            # A task may have passed on what another one put.
            if isinstance(output, Exposure) and output.loan is None:
                output.loan = Loan()
            self._held[ref.id] = (ref, output, provenance)
        return ref

    def get(
        self,
        ref: DatasetRef,
        /,
        *,
        parameters: dict[str, Any] | None = None,
        storageClass: StorageClass | str | None = None,
    ) -> Any:
        """Return an output that is held, without copying it, or an input from the repository."""
        held = self._held.get(ref.id)
        if held is None:
            is_whole = ref.datasetType.component() is None and not parameters
            raw = self._raws.take(ref) if is_whole else None
            if raw is not None:
                return raw
            return self._repository.get(ref, parameters=parameters, storageClass=storageClass)
        written, obj, _ = held
        obj = obj.original() if isinstance(obj, Exposure) else obj
        handle = InMemoryDatasetHandle(obj, storageClass=written.datasetType.storageClass, dataId=ref.dataId)
        with self._metrics.instrument_get():
            return handle.get(
                component=ref.datasetType.component(),
                parameters=parameters,
                storageClass=storageClass or ref.datasetType.storageClass,
            )

    def stored_many(self, refs: Iterable[DatasetRef]) -> dict[DatasetRef, bool]:
        """Return which of the datasets can be read."""
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
        """Forget outputs that are held; datasets in the repository stay."""
        for ref in refs:
            self._held.pop(ref.id, None)

    def hand_over(self) -> list[DatasetRef]:
        """Enter everything that is held in the repository.

        Afterwards nothing is held here, so that images which the repository
        keeps in memory are not stored twice.

        Returns
        -------
        refs : `list` [`~lsst.daf.butler.DatasetRef`]
            What was entered.
        """
        held, self._held = list(self._held.values()), {}
        together: dict[Any, list[DatasetRef]] = defaultdict(list)
        for ref, _, _ in held:
            together[ref.datasetType.dimensions].append(ref)
        # One statement for many datasets; `Butler.put` takes a transaction for each.
        for refs in together.values():
            enter_datasets(self._repository, refs)
        for ref, obj, provenance in held:
            put_into_datastore(self._repository, obj, ref, provenance)
        _LOG.debug("%d datasets entered in the local repository.", len(held))
        return [ref for ref, _, _ in held]
