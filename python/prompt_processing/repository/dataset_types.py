"""Dataset types that pipelines need and a repository lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lsst.daf.butler import Butler, DatasetType

from prompt_processing.butler.pipeline_library import PipelineLibrary
from prompt_processing.domain.errors import RepositoryProblemError

from .central import INPUT_DATASET_TYPES


@dataclass(frozen=True, slots=True)
class NeededDatasetTypes:
    """What pipelines need, against what a repository has.

    Attributes
    ----------
    present : `tuple` [`str`]
        Names of those that it has.
    missing : `tuple` [`~lsst.daf.butler.DatasetType`]
        Those that it lacks, in alphabetical order.
    differing : mapping
        What is wrong with those that it knows otherwise, by name.
    """

    present: tuple[str, ...]
    missing: tuple[DatasetType, ...]
    differing: Mapping[str, str]


def compare_dataset_types(butler: Butler, pipelines: Iterable[str]) -> NeededDatasetTypes:
    """Compare what some pipelines need with what a repository has.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The repository.
    pipelines : iterable of `str`
        Pipeline files.

    Returns
    -------
    needed : `NeededDatasetTypes`
        Inputs, outputs, configurations, logs and package versions of all
        tasks, and what the worker itself writes.

    Raises
    ------
    RepositoryProblemError
        A pipeline cannot be read.
    """
    known = {one.name: one for one in butler.registry.queryDatasetTypes()}
    needed = {
        name: DatasetType(
            name, dimensions, storage_class, isCalibration=certified, universe=butler.dimensions
        )
        for name, (dimensions, storage_class, certified) in INPUT_DATASET_TYPES.items()
    }
    # Of what the repository has, pipelines are told only what they leave open, the pixels of reference
    # catalogues: all else is to be compared with what they themselves mean.
    by_pixel = {name: one for name, one in (needed | known).items() if one.dimensions.skypix}
    library = PipelineLibrary(pipelines, by_pixel, butler.dimensions)
    for problem in library.missing.values():
        raise RepositoryProblemError(problem)
    for wanted in library.dataset_types():
        needed.setdefault(wanted.name, wanted)
    differing = {
        name: f"the pipelines mean {_described(wanted)}, the repository has {_described(known[name])}"
        for name, wanted in needed.items()
        if name in known and not _fits(wanted, known[name])
    }
    return NeededDatasetTypes(
        tuple(sorted(name for name in needed if name in known and name not in differing)),
        tuple(sorted(one for name, one in needed.items() if name not in known)),
        differing,
    )


def register_missing(butler: Butler, needed: NeededDatasetTypes) -> None:
    """Register what is missing.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        Writeable.
    needed : `NeededDatasetTypes`
        Of the same repository.
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
        )
    )


def _described(dataset_type: DatasetType) -> str:
    certified = ", calibration" if dataset_type.isCalibration() else ""
    dimensions = ", ".join(dataset_type.dimensions.required) or "no dimensions"
    return f"{dataset_type.storageClass_name} by {dimensions}{certified}"
