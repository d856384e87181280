"""Find dataset types that pipelines need and a repository lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lsst.daf.butler import Butler, DatasetType

from prompt_processing.butler.field_types import field_type
from prompt_processing.butler.pipelines.library import PipelineLibrary
from prompt_processing.butler.pipelines.output_names import OtherType, fits, outputs_of
from prompt_processing.domain.errors import RepositoryProblemError

from .central import INPUT_DATASET_TYPES


@dataclass(frozen=True, slots=True)
class NeededDatasetTypes:
    """Dataset types that pipelines need, compared with those of a repository.

    Attributes
    ----------
    present
        Names of those that the repository has.
    missing
        Those that it lacks, in alphabetical order.
    differing
        Difference of those that the repository defines otherwise, by name.
    renamed
        Outputs whose names the repository has for something else, by these names, and the names that the
        worker uses instead. They are not among the differing ones.
    unread
        Difference of inputs that visits go without, because no task reads the type that the repository has.
        They are not among the differing ones.
    """

    present: tuple[str, ...]
    missing: tuple[DatasetType, ...]
    differing: Mapping[str, str]
    renamed: Mapping[str, OtherType]
    unread: Mapping[str, str]


def compare_dataset_types(
    butler: Butler, pipelines: Iterable[str], names: Mapping[str, str] | None = None
) -> NeededDatasetTypes:
    """Compare the dataset types of some pipelines with those of a repository.

    Parameters
    ----------
    butler
        The repository.
    pipelines
        Pipeline files.
    names
        Names of dataset types in the repository, by their names in the pipelines, where they differ.

    Returns
    -------
    needed
        Includes inputs, outputs, configurations, logs and package versions of all
        tasks, and the datasets that the worker itself writes.

    Raises
    ------
    RepositoryProblemError
        Raised if a pipeline cannot be read.
    """
    known = {one.name: one for one in butler.registry.queryDatasetTypes()}
    names = names or {}
    needed = {
        names.get(name, name): DatasetType(
            names.get(name, name),
            dimensions,
            storage_class,
            isCalibration=certified,
            universe=butler.dimensions,
        )
        for name, (dimensions, storage_class, certified) in INPUT_DATASET_TYPES.items()
    }
    # Pipelines take only the pixels of reference catalogues from the repository, which they leave open.
    # Everything else must come from the pipelines themselves, to be compared.
    by_pixel = {name: one for name, one in (needed | known).items() if one.dimensions.skypix}
    library = PipelineLibrary(pipelines, by_pixel, butler.dimensions, names, known)
    for problem in library.missing.values():
        raise RepositoryProblemError(problem)
    for wanted in library.dataset_types():
        needed.setdefault(wanted.name, field_type(wanted))
    differing = {
        name: f"the pipelines define {_described(wanted)}, the repository has {_described(known[name])}"
        for name, wanted in needed.items()
        if name in known and not _fits(wanted, known[name])
    }
    necessary = {
        name for pipeline in library for name in (*pipeline.needed_inputs(), *outputs_of([pipeline.graph]))
    }
    unread = {name: one for name, one in differing.items() if name not in necessary}
    differing = {name: one for name, one in differing.items() if name in necessary}
    return NeededDatasetTypes(
        tuple(sorted(name for name in needed if name in known and name not in differing | unread)),
        tuple(sorted(one for name, one in needed.items() if name not in known)),
        differing,
        library.others,
        unread,
    )


def register_missing(butler: Butler, needed: NeededDatasetTypes) -> None:
    """Register the missing dataset types.

    Parameters
    ----------
    butler
        Writeable.
    needed
        Comparison with the same repository.
    """
    for dataset_type in needed.missing:
        butler.registry.registerDatasetType(dataset_type)


def _fits(wanted: DatasetType, known: DatasetType) -> bool:
    return (
        wanted.dimensions == known.dimensions
        and wanted.isCalibration() == known.isCalibration()
        and (
            wanted.storageClass_name == known.storageClass_name
            or wanted.is_compatible_with(known)
            or known.is_compatible_with(wanted)
            or fits(wanted, known)
        )
    )


def _described(dataset_type: DatasetType) -> str:
    certified = ", calibration" if dataset_type.isCalibration() else ""
    dimensions = ", ".join(dataset_type.dimensions.required) or "no dimensions"
    return f"{dataset_type.storageClass_name} by {dimensions}{certified}"
