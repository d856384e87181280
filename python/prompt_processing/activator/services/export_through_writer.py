"""Hand a visit's outputs to the Butler writer service, without access to the central database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lsst.daf.butler import DatasetRef, DatasetType, DimensionRecord

from prompt_processing.activator.storage.writer_topic import WriterTopic
from prompt_processing.butler.central import CentralRepository
from prompt_processing.butler.errors import passing
from prompt_processing.butler.export import (
    Exporter,
    copy_files,
    datastore_root,
    destinations,
    outputs_message,
)
from prompt_processing.butler.journal import ExportJournal
from prompt_processing.butler.local.repository import LocalRepository


class ExporterThroughWriter(Exporter):
    """Copy outputs to the central repository's datastore, and announce them to the writer service.

    The service checks whether the repository already holds other outputs of the visit.

    Parameters
    ----------
    central : `CentralRepository`
        The destination; only the location of its datastore is used.
    patterns, registered
        See `Exporter`.
    topic : `WriterTopic`
        Topic that the service reads.
    """

    def __init__(
        self,
        central: CentralRepository,
        patterns: Sequence[str],
        registered: Mapping[str, DatasetType],
        topic: WriterTopic,
    ) -> None:
        super().__init__(central, patterns, registered)
        self._there = datastore_root(central.writer)
        self._retry_delay = central.retry_delay
        self._journal = ExportJournal(self._there, central.retry_delay)
        self._topic = topic

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
        source, datasets, records, chain
            See `Exporter.export`; the service derives the chain from the names of the runs.

        Returns
        -------
        n_datasets : `int`
            Number of datasets handed over.

        Raises
        ------
        RetriableError
            Raised if the datastore or Kafka cannot be reached.
        """
        refs = [ref for ref in datasets if self.wants(ref.datasetType)]
        if not refs:
            return 0
        described, files = destinations(source, self._there, refs, self._types)
        outputs = outputs_message(described, records)
        with self._journal.noted(outputs):
            with passing("Copying outputs to the central datastore"):
                copy_files(files, self._retry_delay)
            self._topic.publish(outputs)
        return len(refs)
