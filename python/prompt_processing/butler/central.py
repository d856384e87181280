"""The repository that all workers share: inputs are read from it, outputs written to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    ButlerConfig,
    CollectionType,
    DatasetRef,
    DatasetType,
    DimensionRecord,
    MissingCollectionError,
    MissingDatasetTypeError,
    Timespan,
)
from lsst.sphgeom import Region

from .collections import Collections
from .errors import passing, try_twice
from .local import Certified

_LOG = logging.getLogger("lsst.activator.storage.central_repository")
_T = TypeVar("_T")

_INSTRUMENT_ELEMENTS = ("instrument", "detector", "physical_filter", "visit_system")


class CentralRepository:
    """Queries and writes of the central repository, each in as few statements as it takes.

    Parameters
    ----------
    reader, writer : `~lsst.daf.butler.Butler`
        Of the repository that inputs come from and of the one that outputs
        go to; they may be the same object.
    collections : `Collections`
        Names.
    retry_delay : `float`
        Seconds before a call that failed is repeated.
    """

    def __init__(self, reader: Butler, writer: Butler, collections: Collections, retry_delay: float) -> None:
        self.reader = reader
        self.writer = writer
        self.collections = collections
        self.retry_delay = retry_delay
        self._known_runs: set[str] = set()
        self._together = False

    @classmethod
    def open(cls, output_repo: str, input_repo: str, instrument: str, retry_delay: float) -> Self:
        """Connect.

        Parameters
        ----------
        output_repo, input_repo : `str`
            URIs of the repository that outputs go to and of the one that
            inputs come from; they may be the same.
        instrument : `str`
            Short name of the instrument.
        retry_delay : `float`
            Seconds before a call that failed is repeated.

        Raises
        ------
        RetriableError
            Raised if a repository cannot be reached.
        """
        with passing(f"Opening the central repository {output_repo}"):
            config = ButlerConfig(output_repo)
            writer = Butler.from_config(config, writeable=True)
        # One connection serves both, except where a writer locks out every reader.
        shared = input_repo == output_repo and not _is_sqlite(config)
        with passing(f"Opening the central repository {input_repo}"):
            reader = writer if shared else Butler.from_config(input_repo, writeable=False)
        return cls(reader, writer, Collections(instrument), retry_delay)

    def close(self) -> None:
        """Disconnect."""
        self.writer.close()
        if self.reader is not self.writer:
            self.reader.close()

    def instrument_records(self) -> dict[str, list[DimensionRecord]]:
        """Return the records of the instrument itself, by dimension element, in order of insertion.

        Raises
        ------
        LookupError
            Raised if the repository does not know the instrument.
        RetriableError
            Raised if the repository cannot be reached.
        """
        instrument = self.collections.instrument

        def query() -> dict[str, list[DimensionRecord]]:
            return {
                element: self.reader.query_dimension_records(
                    element, instrument=instrument, explain=False, limit=None
                )
                for element in _INSTRUMENT_ELEMENTS
            }

        records = self._ask("Reading the instrument's records", query)
        if not records["instrument"]:
            raise LookupError(f"The central repository has no instrument {instrument!r}.")
        return records

    def search_order(self) -> tuple[str, ...]:
        """Return the collections that hold the inputs, in the order in which they are searched."""

        def query() -> tuple[str, ...]:
            return tuple(self.reader.collections.query(self.collections.defaults, flatten_chains=True))

        return self._ask(f"Reading the chain {self.collections.defaults}", query)

    @contextmanager
    def remembering_collections(self) -> Iterator[None]:
        """Ask for collections once during a block, and not by each of its queries."""
        with self.reader.registry.caching_context():
            yield

    def ask_together(self, what: str, questions: Callable[[], _T]) -> _T:
        """Ask several questions in one transaction of the database.

        Parameters
        ----------
        what : `str`
            Names what is asked, for the log.
        questions : callable
            Calls methods of this object that find something; called again
            from its beginning if it fails for a passing reason.

        Returns
        -------
        answers
            What ``questions`` returned.

        Raises
        ------
        RetriableError
            Raised if the repository cannot be reached.
        """

        def together() -> _T:
            # Each question in a transaction of its own takes twice the statements.
            self._together = True
            try:
                with self.reader.registry.transaction():
                    return questions()
            finally:
                self._together = False

        with passing(f"{what} in the central repository"):
            return try_twice(together, self.retry_delay)

    def find_calibrations(
        self, dataset_type: DatasetType, data_id: Mapping[str, Any], when: Timespan, order: Sequence[str]
    ) -> list[Certified]:
        """Find all calibrations of one type that are valid at some time.

        Parameters
        ----------
        dataset_type : `~lsst.daf.butler.DatasetType`
            A calibration.
        data_id : mapping
            Instrument and, to have only these, detector and filter.
        when : `~lsst.daf.butler.Timespan`
            Range of times.
        order : sequence of `str`
            Collections.

        Returns
        -------
        calibrations : `list` [`Certified`]
            In no order.
        """
        name = dataset_type.name
        known = {key: value for key, value in data_id.items() if key in dataset_type.dimensions}

        def query() -> list[Certified]:
            with self.reader.query() as query:
                expression = query.expression_factory
                query = query.join_dataset_search(dataset_type, order).where(known)
                if not (when.begin is None and when.end is None):
                    query = query.where(expression[name].timespan.overlaps(when))
                rows = query.general(
                    dataset_type.dimensions,
                    dataset_fields={name: {"dataset_id", "run", "collection", "timespan"}},
                    find_first=False,
                )
                return [
                    Certified(refs[0], row[f"{name}.collection"], _validity(row, name))
                    for _, refs, row in rows.iter_tuples(dataset_type)
                ]

        return self._ask(f"Looking for {name}", query, missing=[])

    def find_overlapping(
        self,
        dataset_type: DatasetType,
        data_id: Mapping[str, Any],
        region: Region,
        order: Sequence[str],
    ) -> list[DatasetRef]:
        """Find datasets of the sky, such as templates and reference stars, where a visit looks.

        Parameters
        ----------
        dataset_type : `~lsst.daf.butler.DatasetType`
            With one dimension that has a region.
        data_id : mapping
            Values of its other dimensions.
        region : `lsst.sphgeom.Region`
            Part of the sky.
        order : sequence of `str`
            Collections, the one searched first in front.

        Returns
        -------
        refs : `list` [`~lsst.daf.butler.DatasetRef`]
            With their dimension records.
        """
        known = {key: value for key, value in data_id.items() if key in dataset_type.dimensions}
        element = next(iter(dataset_type.dimensions.spatial)).choose(dataset_type.dimensions).name
        skypix = dataset_type.dimensions.universe.skypix_dimensions.get(element)

        def query() -> list[DatasetRef]:
            with self.reader.query() as query:
                expression = query.expression_factory
                if skypix is None:
                    where = getattr(expression, element).region.overlaps(region)
                else:
                    pixels = [
                        pixel
                        for begin, end in skypix.pixelization.envelope(region)
                        for pixel in range(begin, end)
                    ]
                    where = getattr(expression, element).in_iterable(pixels)
                found = query.datasets(dataset_type, order, find_first=True).where(known, where)
                return list(found.with_dimension_records())

        return self._ask(f"Looking for {dataset_type.name}", query, missing=[])

    def find_datasets(
        self, dataset_type: DatasetType, data_id: Mapping[str, Any], order: Sequence[str]
    ) -> list[DatasetRef]:
        """Find datasets that have neither validity nor place; arguments as for `find_overlapping`."""
        known = {key: value for key, value in data_id.items() if key in dataset_type.dimensions}

        def query() -> list[DatasetRef]:
            with self.reader.query() as query:
                found = query.datasets(dataset_type, order, find_first=True).where(known)
                return list(found.with_dimension_records())

        return self._ask(f"Looking for {dataset_type.name}", query, missing=[])

    def find_init_outputs(self, run: str, names: Iterable[str]) -> list[DatasetRef]:
        """Find what the initializer wrote into an output run; empty if it did not."""

        def query() -> list[DatasetRef]:
            known = {
                dataset_type.name
                for dataset_type in self.writer.registry.queryDatasetTypes(list(names), missing=[])
            }
            if not known:
                return []
            return self.writer.query_all_datasets(run, name=sorted(known), find_first=False, limit=None)

        return self._ask(f"Looking for init-outputs in {run}", query, missing=[])

    def add_run(self, run: str, chain: str) -> None:
        """Make an output run and put it in front of its night's chain, unless that is done.

        Any number of workers may do so at once.
        """
        if run in self._known_runs:
            return
        collections = self.writer.collections
        collections.register(run)
        collections.register(chain, CollectionType.CHAINED)
        if run not in collections.get_info(chain).children:
            collections.prepend_chain(chain, run)
        self._known_runs.add(run)

    def _ask(self, what: str, query: Callable[[], _T], missing: _T | None = None) -> _T:
        """Query, twice if need be; ``missing`` is the answer if a collection or type does not exist."""

        def attempt() -> _T:
            try:
                return query()
            except (MissingCollectionError, MissingDatasetTypeError) as error:
                if missing is None:
                    raise
                _LOG.debug("%s in the central repository: %s", what, error)
                return missing

        if self._together:
            # A transaction in which something has failed is of no further use: all of it is tried again.
            return attempt()
        with passing(f"{what} in the central repository"):
            return try_twice(attempt, self.retry_delay)


def _is_sqlite(config: ButlerConfig) -> bool:
    return str(config.get(("registry", "db"), "")).startswith("sqlite")


def _validity(row: Mapping[str, Any], name: str) -> Timespan | None:
    """Return when a calibration is valid; `None` in its own run, which can certify nothing."""
    if row[f"{name}.collection"] == row[f"{name}.run"]:
        # The registry answers that a run has unbounded validity.
        return None
    timespan: Timespan | None = row[f"{name}.timespan"]
    return timespan
