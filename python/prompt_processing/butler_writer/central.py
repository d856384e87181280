"""Enter outputs into the central repository."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import sqlalchemy.exc
from lsst.daf.butler import (
    Butler,
    ButlerUserError,
    DatasetType,
    DimensionRecord,
    FileDataset,
    MissingDatasetTypeError,
)
from lsst.daf.butler.registry import ConflictingDefinitionError, RegistryError  # type: ignore[attr-defined]
from lsst.resources import ResourcePath

from prompt_processing.butler.central import CentralRepository
from prompt_processing.butler.collections import Collections
from prompt_processing.butler.errors import PASSING_FAILURES, try_twice
from prompt_processing.butler.messages import VisitOutputs

from .datastore_files import remove_unknown
from .recorded_names import formatter_named, know_storage_class

__all__ = ["ANY_RUN", "CentralButler", "RejectedOutputsError"]

_log = logging.getLogger("lsst.butler_writer.central")

_OUTPUT_RUN = re.compile(r"(?P<chain>(?P<instrument>[^/]+)/prompt/output-\d{4}-\d\d-\d\d)/[^/]+/[^/]+")
"""Output runs of this system's workers, which belong to the chain of the night."""

ANY_RUN = re.compile(".*")

_FAULTS_OF_A_MESSAGE: tuple[type[Exception], ...] = (
    ButlerUserError,
    RegistryError,
    # Missing dimension records that the outputs refer to; values that no column accepts.
    sqlalchemy.exc.IntegrityError,
    sqlalchemy.exc.DataError,
    FileNotFoundError,
    # Python types that only other environments have.
    ImportError,
    LookupError,
    TypeError,
    ValueError,
    # Numbers that no column holds.
    ArithmeticError,
)


class RejectedOutputsError(Exception):
    """Outputs can never be entered.

    Parameters
    ----------
    reason : `str`
        Reason.
    is_duplicate : `bool`, optional
        Whether the repository has other outputs of the same visit.
    """

    def __init__(self, reason: str, *, is_duplicate: bool = False) -> None:
        super().__init__(reason)
        self.is_duplicate = is_duplicate


class CentralButler:
    """Enter the outputs of many visits at once.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The central repository, writeable.
    retry_delay : `float`
        Seconds before an attempt that conflicted with another writer is repeated.
    accepted_runs : `re.Pattern`, optional
        Pattern that the whole name of a run must match.
    """

    def __init__(self, butler: Butler, retry_delay: float, accepted_runs: re.Pattern[str] = ANY_RUN) -> None:
        self._butler = butler
        self._retry_delay = retry_delay
        self._accepted_runs = accepted_runs
        self._further_runs: set[str] = set()
        self._types: dict[str, DatasetType] = {}
        self._repositories: dict[str, CentralRepository] = {}

    def enter(self, outputs: Sequence[VisitOutputs]) -> None:
        """Enter records and datasets; existing ones stay unchanged.

        Parameters
        ----------
        outputs : sequence of `VisitOutputs`
            Outputs of any number of visits.

        Raises
        ------
        RejectedOutputsError
            Raised if one of them cannot be entered; then no dataset is entered.
        Exception
            Any of `~prompt_processing.butler.errors.PASSING_FAILURES` if the
            repository cannot be reached.
        """
        try:
            self._insert_records(outputs)
            self._register_types(outputs)
            datasets = [dataset for one in outputs for dataset in self._datasets(one)]
            self._register_runs({ref.run for dataset in datasets for ref in dataset.refs})
            try:
                self._ingest(datasets)
            except ConflictingDefinitionError as error:
                if len(outputs) == 1:
                    # Otherwise the files of the second worker would stay without a record.
                    remove_unknown(self._butler, outputs[0])
                raise RejectedOutputsError(_first_line(error), is_duplicate=True) from error
        except FileNotFoundError as error:
            raise RejectedOutputsError(str(error)) from error
        except PASSING_FAILURES:
            raise
        except _FAULTS_OF_A_MESSAGE as error:
            raise RejectedOutputsError(_first_line(error)) from error

    def _ingest(self, datasets: Sequence[FileDataset]) -> None:
        with self._butler.registry.caching_context():
            try_twice(
                # Without sizes, which would take a request to the store for each file.
                lambda: self._butler.ingest(
                    *datasets, transfer=None, skip_existing=True, record_validation_info=False
                ),
                self._retry_delay,
                also=(sqlalchemy.exc.IntegrityError,),
            )

    def _insert_records(self, outputs: Iterable[VisitOutputs]) -> None:
        universe = self._butler.dimensions
        by_element: dict[str, dict[object, DimensionRecord]] = {}
        for one in outputs:
            for simple in one.dimension_records:
                with _faults_of_its_form():
                    record = DimensionRecord.from_simple(simple, universe=universe)
                # Each detector's message has the records of the whole visit.
                by_element.setdefault(record.definition.name, {}).setdefault(record.dataId, record)
        for element in universe.elements:
            if rows := by_element.get(element.name):
                try_twice(
                    lambda name=element.name, rows=rows: self._butler.registry.insertDimensionData(  # type: ignore[misc]
                        name, *rows.values(), skip_existing=True
                    ),
                    self._retry_delay,
                    also=(sqlalchemy.exc.IntegrityError,),
                )

    def _register_types(self, outputs: Iterable[VisitOutputs]) -> None:
        for one in outputs:
            for simple in one.dataset_types:
                if simple.storageClass is not None:
                    know_storage_class(simple.storageClass)
                with _faults_of_its_form():
                    dataset_type = DatasetType.from_simple(simple, universe=self._butler.dimensions)
                known = self._known_type(dataset_type.name)
                if known is None:
                    self._butler.registry.registerDatasetType(dataset_type)
                    self._types[dataset_type.name] = dataset_type
                elif not known.is_compatible_with(dataset_type):
                    raise ConflictingDefinitionError(f"{dataset_type} is {known} in the repository.")

    def _known_type(self, name: str) -> DatasetType | None:
        if name not in self._types:
            with suppress(MissingDatasetTypeError):
                self._types[name] = self._butler.get_dataset_type(name)
                know_storage_class(self._types[name].storageClass_name)
        return self._types.get(name)

    def _datasets(self, outputs: VisitOutputs) -> list[FileDataset]:
        # A record has the type of its file, which may be another than the registered one.
        sent = {
            simple.name: DatasetType.from_simple(simple, universe=self._butler.dimensions)
            for simple in outputs.dataset_types
        }

        def load(name: str) -> DatasetType:
            dataset_type = sent.get(name) or self._known_type(name)
            if dataset_type is None:
                raise MissingDatasetTypeError(f"Dataset type {name} is neither in the message nor known.")
            return dataset_type

        datasets = []
        for simple in outputs.datasets:
            path = ResourcePath(simple.path, forceAbsolute=False, forceDirectory=False)
            if path.isabs() or ".." in simple.path.split("/"):
                raise ValueError(f"{simple.path} is not a path below the root of the datastore.")
            with _faults_of_its_form():
                dataset = FileDataset.from_simple(
                    simple, dataset_type_loader=load, universe=self._butler.dimensions
                )
            if simple.formatter is not None:
                dataset.formatter = formatter_named(simple.formatter)
            datasets.append(dataset)
        return datasets

    def _register_runs(self, runs: Iterable[str]) -> None:
        # In a fixed order, so that two writers do not wait for each other's locks.
        for run in sorted(runs):
            if not self._accepted_runs.fullmatch(run):
                raise ValueError(f"The run {run} is not one that OUTPUT_RUN_REGEXP accepts.")
            try_twice(
                lambda run=run: self._register_run(run),  # type: ignore[misc]
                self._retry_delay,
                also=(sqlalchemy.exc.IntegrityError,),
            )

    def _register_run(self, run: str) -> None:
        match = _OUTPUT_RUN.fullmatch(run)
        if match is None:
            if run not in self._further_runs:
                self._butler.collections.register(run)
                self._further_runs.add(run)
            return
        instrument = match["instrument"]
        if instrument not in self._repositories:
            self._repositories[instrument] = CentralRepository(
                self._butler, self._butler, Collections(instrument), self._retry_delay
            )
        self._repositories[instrument].add_run(run, match["chain"])


@contextmanager
def _faults_of_its_form() -> Iterator[None]:
    """Report what is wrong with the form of a message, such as of a region, as a wrong value."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def _first_line(error: Exception) -> str:
    # The rest may be a statement with all its parameters.
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
