"""The central repository, from which all workers read inputs and to which they write outputs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
from .local.repository import Certified
from .opening import open_repository
from .recorded_storage_classes import know_storage_classes_of

_LOG = logging.getLogger("lsst.activator.storage.central_repository")
_T = TypeVar("_T")

_INSTRUMENT_ELEMENTS = ("instrument", "detector", "physical_filter", "visit_system")


class CentralRepository:
    """Queries and writes of the central repository, each with as few statements as possible.

    Parameters
    ----------
    reader, writer : `~lsst.daf.butler.Butler`
        Butlers of the repositories for inputs and outputs; they may be the
        same object.
    collections : `Collections`
        Collection names.
    retry_delay : `float`
        Seconds before a failed call is repeated.
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
        """Connect to the repositories.

        Parameters
        ----------
        output_repo, input_repo : `str`
            URIs of the repositories for outputs and inputs; they may be the
            same.
        instrument : `str`
            Short name of the instrument.
        retry_delay : `float`
            Seconds before a failed call is repeated.

        Raises
        ------
        RetriableError
            Raised if a repository cannot be reached.
        """
        with passing(f"Opening the central repository {output_repo}"):
            config = ButlerConfig(output_repo)
            writer = Butler.from_config(config, writeable=True)
            know_storage_classes_of(writer)
        # One connection serves both, except in SQLite, where a writer locks out all readers.
        shared = input_repo == output_repo and not _is_sqlite(config)
        with passing(f"Opening the central repository {input_repo}"):
            reader = (
                writer if shared else open_repository(config if input_repo == output_repo else input_repo)
            )
        return cls(reader, writer, Collections(instrument), retry_delay)

    def close(self) -> None:
        """Disconnect."""
        self.writer.close()
        if self.reader is not self.writer:
            self.reader.close()

    def instrument_records(self) -> dict[str, list[DimensionRecord]]:
        """Return the instrument's records by dimension element, in order of insertion.

        Raises
        ------
        LookupError
            Raised if the repository does not have the instrument.
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

    def search_order(self, configured: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the collections of the inputs, in search order.

        Parameters
        ----------
        configured : sequence of `str`, optional
            Collections and chains to search. By default the chain of all inputs, and then the collections
            that should be members of it, where they exist: elsewhere they may not be.

        Raises
        ------
        MissingCollectionError
            Raised if a configured collection or the chain does not exist.
        """
        first = configured or (self.collections.defaults,)
        further = () if configured else self.collections.inputs

        def query() -> tuple[str, ...]:
            members = [
                member
                for name in first
                for member in self.reader.collections.query(name, flatten_chains=True)
            ]
            for name in further:
                with suppress(MissingCollectionError):
                    members += self.reader.collections.query(name, flatten_chains=True)
            # Each collection once, at its first place.
            return tuple(dict.fromkeys(members))

        return self._ask(f"Reading the collections {', '.join(first)}", query)

    @contextmanager
    def remembering_collections(self) -> Iterator[None]:
        """Read the collections once for a block, instead of once per query."""
        with self.reader.registry.caching_context():
            yield

    def ask_together(self, what: str, questions: Callable[[], _T]) -> _T:
        """Run several queries in one transaction of the database.

        Parameters
        ----------
        what : `str`
            Description of the queries, for the log.
        questions : callable
            Calls methods of this object; called a second time if it fails for
            a transient reason.

        Returns
        -------
        answers
            Return value of ``questions``.

        Raises
        ------
        RetriableError
            Raised if the repository cannot be reached.
        """

        def together() -> _T:
            # A transaction for each query would take twice as many statements.
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
        """Find all calibrations of one type that are valid within a time range.

        Parameters
        ----------
        dataset_type : `~lsst.daf.butler.DatasetType`
            A calibration type.
        data_id : mapping
            Instrument and, as optional constraints, detector and filter.
        when : `~lsst.daf.butler.Timespan`
            Time range.
        order : sequence of `str`
            Collections to search.

        Returns
        -------
        calibrations : `list` [`Certified`]
            Calibrations, in no particular order.
        """
        name = dataset_type.name
        known = {key: value for key, value in data_id.items() if key in dataset_type.dimensions}

        def query() -> list[Certified]:
            with self.reader.query() as query:
                expression = query.expression_factory
                # The repository's own definition, whose storage class may be another than the tasks'.
                there = self.reader.get_dataset_type(name)
                query = query.join_dataset_search(there, order).where(known)
                if not (when.begin is None and when.end is None):
                    query = query.where(expression[name].timespan.overlaps(when))
                rows = query.general(
                    dataset_type.dimensions,
                    dataset_fields={name: {"dataset_id", "run", "collection", "timespan"}},
                    find_first=False,
                )
                return [
                    Certified(refs[0], row[f"{name}.collection"], _validity(row, name))
                    for _, refs, row in rows.iter_tuples(there)
                ]

        return self._ask(f"Looking for {name}", query, missing=[])

    def find_overlapping(
        self,
        dataset_type: DatasetType,
        data_id: Mapping[str, Any],
        region: Region,
        order: Sequence[str],
    ) -> list[DatasetRef]:
        """Find datasets of a sky region, such as templates and reference stars.

        Parameters
        ----------
        dataset_type : `~lsst.daf.butler.DatasetType`
            Dataset type with one spatial dimension.
        data_id : mapping
            Values of the other dimensions.
        region : `lsst.sphgeom.Region`
            Region of the sky.
        order : sequence of `str`
            Collections in search order.

        Returns
        -------
        refs : `list` [`~lsst.daf.butler.DatasetRef`]
            References with dimension records.
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
                found = query.datasets(dataset_type.name, order, find_first=True).where(known, where)
                return list(found.with_dimension_records())

        return self._ask(f"Looking for {dataset_type.name}", query, missing=[])

    def find_datasets(
        self, dataset_type: DatasetType, data_id: Mapping[str, Any], order: Sequence[str]
    ) -> list[DatasetRef]:
        """Find datasets without validity range and position; arguments as for `find_overlapping`."""
        known = {key: value for key, value in data_id.items() if key in dataset_type.dimensions}

        def query() -> list[DatasetRef]:
            with self.reader.query() as query:
                found = query.datasets(dataset_type.name, order, find_first=True).where(known)
                return list(found.with_dimension_records())

        return self._ask(f"Looking for {dataset_type.name}", query, missing=[])

    def find_init_outputs(self, run: str, names: Iterable[str]) -> list[DatasetRef]:
        """Find the init-outputs in an output run; empty if the initializer has not run."""

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
        """Create an output run and prepend it to its night's chain, unless that is done.

        Any number of workers may call this at the same time.
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
        """Run a query, at most twice; return ``missing`` if a collection or type does not exist."""

        def attempt() -> _T:
            try:
                return query()
            except (MissingCollectionError, MissingDatasetTypeError) as error:
                if missing is None:
                    raise
                _LOG.debug("%s in the central repository: %s", what, error)
                return missing

        if self._together:
            # After a failure the transaction is unusable; the caller repeats all of it.
            return attempt()
        with passing(f"{what} in the central repository"):
            return try_twice(attempt, self.retry_delay)


def _is_sqlite(config: ButlerConfig) -> bool:
    return str(config.get(("registry", "db"), "")).startswith("sqlite")


def _validity(row: Mapping[str, Any], name: str) -> Timespan | None:
    """Return the validity range of a calibration; `None` in its run, which certifies nothing."""
    if row[f"{name}.collection"] == row[f"{name}.run"]:
        # The registry reports an unbounded validity for runs.
        return None
    timespan: Timespan | None = row[f"{name}.timespan"]
    return timespan
