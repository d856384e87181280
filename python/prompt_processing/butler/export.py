"""Hand the outputs of a visit over to the central repository."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import sqlalchemy.exc
from lsst.daf.butler import Butler, DatasetRef, DatasetType, DimensionRecord, FileDataset
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.resources import ResourcePath

from prompt_processing.butler.central import CentralRepository
from prompt_processing.butler.errors import passing, try_twice
from prompt_processing.butler.field_types import field_dataset, field_type
from prompt_processing.butler.formatters import OWN_FORMATTERS
from prompt_processing.butler.journal import ExportJournal
from prompt_processing.butler.local.repository import LocalRepository
from prompt_processing.butler.messages import VisitOutputs
from prompt_processing.domain.errors import NonRetriableError

_LOG = logging.getLogger("lsst.activator.services.export")

RECORD_ORDER = (
    "day_obs",
    "group",
    "visit_system",
    "exposure",
    "visit",
    "visit_definition",
    "visit_system_membership",
    "visit_detector_region",
)
"""Dimension elements that a visit creates, each after those that it refers to."""


class Exporter:
    """Copy outputs to the central repository's datastore and enter them in its registry.

    Parameters
    ----------
    central : `CentralRepository`
        The destination.
    patterns : sequence of `str`
        Regular expressions; a dataset type is exported if one of them matches
        its whole name.
    registered : mapping
        Dataset types of the central repository, by name.
    """

    def __init__(
        self,
        central: CentralRepository,
        patterns: Sequence[str],
        registered: Mapping[str, DatasetType],
    ) -> None:
        self._central = central
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._types = dict(registered)

    def wants(self, dataset_type: DatasetType) -> bool:
        """Return whether datasets of a type are exported."""
        return "detector" in dataset_type.dimensions and any(
            pattern.fullmatch(dataset_type.name) for pattern in self._patterns
        )

    def export(
        self,
        source: LocalRepository,
        datasets: Iterable[DatasetRef],
        records: Iterable[tuple[str, list[DimensionRecord]]],
        chain: str,
    ) -> int:
        """Hand over all outputs.

        Parameters
        ----------
        source : `LocalRepository`
            The local repository.
        datasets : iterable of `~lsst.daf.butler.DatasetRef`
            The visit's outputs in the local repository, with dimension records.
        records : iterable of `tuple` [`str`, `list`]
            Dimension records of the visit, by element in order of insertion.
        chain : `str`
            The night's chain, to which the runs are added.

        Returns
        -------
        n_datasets : `int`
            Number of datasets handed over.

        Raises
        ------
        RetriableError
            Raised if the central repository cannot be reached.
        NonRetriableError
            Raised if the repository already has other outputs of the same visit.
        """
        refs = [ref for ref in datasets if self.wants(ref.datasetType)]
        if not refs:
            return 0
        records = list(records)
        central = self._central
        writer = central.writer
        with passing("Export to the central repository"):
            # In separate, short transactions: all workers of the focal plane insert the same records.
            for element, rows in records:
                if rows:
                    _insert(central, element, rows)
            self._register_dataset_types({field_type(ref.datasetType) for ref in refs})
            for run in sorted({ref.run for ref in refs}):
                try_twice(
                    lambda run=run: central.add_run(run, chain),  # type: ignore[misc]
                    central.retry_delay,
                    also=(sqlalchemy.exc.IntegrityError,),
                )
            try_twice(lambda: self._refuse_duplicate(refs), central.retry_delay)
            root = datastore_root(writer)
            described, files = destinations(source, root, refs, self._types)
            conflict: ConflictingDefinitionError | None = None
            with ExportJournal(root, central.retry_delay).noted(outputs_message(described, records)):
                # Before the transaction, so that its locks are not held during the upload.
                copy_files(files, central.retry_delay)
                try:
                    with writer.registry.caching_context():
                        try_twice(
                            lambda: writer.ingest(*described, transfer=None, skip_existing=True),
                            central.retry_delay,
                        )
                except ConflictingDefinitionError as error:
                    conflict = error
                    for _, copied in files:
                        copied.remove()
            if conflict is not None:
                raise NonRetriableError(
                    f"The central repository already has outputs of this visit: {conflict}", "useless"
                ) from conflict
        return len(refs)

    def _refuse_duplicate(self, refs: Collection[DatasetRef]) -> None:
        """Check, before anything is copied, that the visit was not handed over before.

        One output of each run is enough for that.
        """
        one_of_each_run = {ref.run: ref for ref in sorted(refs)}
        for run, ref in one_of_each_run.items():
            known = self._central.writer.find_dataset(ref.datasetType.name, ref.dataId, collections=run)
            if known is not None and known.id != ref.id:
                raise NonRetriableError(
                    f"The central repository already has a {ref.datasetType.name} of {ref.dataId} in {run}.",
                    "useless",
                )

    def _register_dataset_types(self, dataset_types: set[DatasetType]) -> None:
        registry = self._central.writer.registry
        for dataset_type in dataset_types:
            name = dataset_type.name
            if name in self._types:
                continue
            # The initializer may have registered it since this worker started, and another stack otherwise.
            known = {one.name: one for one in registry.queryDatasetTypes([name], missing=[])}
            if name not in known and registry.registerDatasetType(dataset_type):
                _LOG.warning(
                    "The central repository did not have the dataset type %s; run prompt initializer "
                    "whenever pipelines change.",
                    name,
                )
            self._types[name] = known.get(name, dataset_type)


def _insert(central: CentralRepository, element: str, rows: list[DimensionRecord]) -> None:
    try_twice(
        lambda: central.writer.registry.insertDimensionData(element, *rows, skip_existing=True),
        central.retry_delay,
        also=(sqlalchemy.exc.IntegrityError,),
    )


def copy_files(files: Sequence[tuple[ResourcePath, ResourcePath]], retry_delay: float) -> None:
    """Copy files to another datastore.

    Parameters
    ----------
    files : sequence of `tuple` [`~lsst.resources.ResourcePath`, `~lsst.resources.ResourcePath`]
        Pairs of source and destination.
    retry_delay : `float`
        Seconds before a second attempt, if the store does not answer.
    """
    try_twice(lambda: ResourcePath.mtransfer("copy", files, overwrite=True), retry_delay)


def outputs_message(
    datasets: Sequence[FileDataset], records: Iterable[tuple[str, list[DimensionRecord]]]
) -> VisitOutputs:
    """Make the message that describes an export to the writer service.

    Parameters
    ----------
    datasets : sequence of `~lsst.daf.butler.FileDataset`
        Datasets, with paths relative to the root of the central datastore.
    records : iterable of `tuple` [`str`, `list`]
        Dimension records of the visit, by element.
    """
    types = {ref.datasetType.name: ref.datasetType for dataset in datasets for ref in dataset.refs}
    return VisitOutputs(
        dimension_records=[record.to_simple() for _, rows in records for record in rows],
        datasets=[dataset.to_simple() for dataset in datasets],
        dataset_types=[types[name].to_simple() for name in sorted(types)],
    )


def destinations(
    source: LocalRepository,
    there: ResourcePath,
    refs: Sequence[DatasetRef],
    registered: Mapping[str, DatasetType] | None = None,
) -> tuple[list[FileDataset], list[tuple[ResourcePath, ResourcePath]]]:
    """Choose each file's path in another datastore, the same as in the source, and describe it to others.

    Parameters
    ----------
    source : `LocalRepository`
        Repository that has the files.
    there : `~lsst.resources.ResourcePath`
        Root of the other datastore.
    refs : sequence of `~lsst.daf.butler.DatasetRef`
        Datasets to copy.
    registered : mapping, optional
        Dataset types that the other repository has, by name.

    Returns
    -------
    datasets : `list` [`~lsst.daf.butler.FileDataset`]
        Datasets, with paths relative to both roots, and with the types and formatters that others have.
    files : `list` [`tuple` [`~lsst.resources.ResourcePath`, `~lsst.resources.ResourcePath`]]
        Pairs of source and destination.
    """
    here = datastore_root(source.butler)
    datasets = [field_dataset(dataset, OWN_FORMATTERS, registered) for dataset in source.export_files(refs)]
    files = [(here.join(dataset.path), there.join(dataset.path)) for dataset in datasets]
    return datasets, files


def datastore_root(butler: Butler) -> ResourcePath:
    """Return the root of a repository's files.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The repository; its database is not queried.

    Raises
    ------
    NonRetriableError
        Raised if the repository keeps no files.
    """
    for root in butler.get_datastore_roots().values():
        if root is not None:
            return root
    raise NonRetriableError(f"{butler} keeps no files.", "useless")
