"""Storage classes and formatters under which others read what we write.

Tasks exchange the types of this package, which the process knows under the names of the Rubin stack
(`.types`). Central repositories and messages have the types of ``lsst-images`` and the formatters of the
middleware, which any stack has, so that outputs are readable without this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from lsst.daf.butler import DatasetRef, DatasetType, FileDataset, FormatterV2

from prompt_processing.images.layout.names import DIFFERENCES, VISIT_IMAGES

__all__ = [
    "FIELD_FORMATTER",
    "field_dataset",
    "field_storage_class",
    "field_type",
    "named_formatter",
    "own_record",
    "own_ref",
    "own_type",
    "own_types",
]

FIELD_FORMATTER = "lsst.images.formatters.GenericFormatter"
"""Reads all files in the layout of ``lsst-images``."""

_IMAGES = ("ExposureF", "Exposure")
_MASKED_IMAGE = "MaskedImageV2"
_CONVERTIBLE = ("VisitImage", "DifferenceImage")
_PARTS = {
    "MatchingKernel": "ConvolutionKernel",
    "Background": "BackgroundMap",
    "PhotoCalib": "ImageField",
}
_TABLES = {"DataFrame": "ArrowAstropy"}
_OWN = {
    "VisitImage": "ExposureF",
    "DifferenceImage": "ExposureF",
    # Of others' templates.
    "CellCoadd": "ExposureF",
    _MASKED_IMAGE: "ExposureF",
} | {theirs: ours for ours, theirs in _PARTS.items()}


def field_storage_class(dataset_type: DatasetType) -> str:
    """Return the storage class of a dataset type in repositories that others read.

    Only outputs differ from the tasks' definitions. Raws and the inputs of the pipelines are of whatever type
    the repository has.
    """
    name = dataset_type.storageClass_name
    if (
        "detector" not in dataset_type.dimensions
        or dataset_type.isCalibration()
        or dataset_type.name == "raw"
    ):
        return name
    if name in _IMAGES:
        if dataset_type.name in VISIT_IMAGES:
            return "VisitImage"
        return "DifferenceImage" if dataset_type.name in DIFFERENCES else _MASKED_IMAGE
    return _PARTS.get(name) or _TABLES.get(name) or name


def field_type(dataset_type: DatasetType) -> DatasetType:
    """Return a dataset type as repositories have it that others read."""
    return _with_storage_class(dataset_type, field_storage_class(dataset_type))


def own_type(dataset_type: DatasetType) -> DatasetType:
    """Return a dataset type of a repository as our tasks and the local repository have it."""
    return _with_storage_class(
        dataset_type, _OWN.get(dataset_type.storageClass_name, dataset_type.storageClass_name)
    )


def own_ref(ref: DatasetRef) -> DatasetRef:
    """Return a dataset of a repository as our tasks know it."""
    return _with_type(ref, own_type(ref.datasetType))


def own_record(storage_class: str, formatter: str) -> tuple[str, str]:
    """Return storage class and formatter by which the worker reads its copy of a file.

    Parameters
    ----------
    storage_class, formatter : `str`
        Names that a repository has recorded for the file.
    """
    own = _OWN.get(storage_class)
    if own is None or formatter != FIELD_FORMATTER:
        return storage_class, formatter
    kind = "ExposureFormatter" if own == "ExposureF" else "FieldPartFormatter"
    return own, f"prompt_processing.butler.formatters.{kind}"


def own_types(dataset_types: Mapping[str, DatasetType]) -> dict[str, DatasetType]:
    """Return the dataset types of a repository, by name, as our tasks have them."""
    return {name: own_type(one) for name, one in dataset_types.items()}


def field_dataset(
    dataset: FileDataset,
    own_formatters: Iterable[str],
    registered: Mapping[str, DatasetType] | None = None,
) -> FileDataset:
    """Return a file of the local repository as others know it.

    Parameters
    ----------
    dataset : `~lsst.daf.butler.FileDataset`
        File in the layout of ``lsst-images``, or of the middleware.
    own_formatters : iterable of `str`
        Names of the formatters of this package that write the layout of ``lsst-images``.
    registered : mapping, optional
        Dataset types that the repository of others has already, by name; they take precedence.

    Returns
    -------
    dataset : `~lsst.daf.butler.FileDataset`
        The same file, with their dataset types, and the formatter by which they read it.
    """
    formatter = dataset.formatter
    name = formatter if isinstance(formatter, str) or formatter is None else formatter.name()
    if name in set(own_formatters):
        formatter = named_formatter(FIELD_FORMATTER)
    return FileDataset(
        dataset.path, [_field_ref(ref, registered or {}) for ref in dataset.refs], formatter=formatter
    )


@cache
def named_formatter(name: str) -> type[FormatterV2]:
    """Return a stand-in for a formatter of which only the name is recorded.

    Importing the formatter itself takes a second, or it may exist only where the file is read.
    """

    class NamedFormatter(FormatterV2):
        @classmethod
        def name(cls) -> str:
            return name

    return NamedFormatter


def _field_ref(ref: DatasetRef, registered: Mapping[str, DatasetType]) -> DatasetRef:
    ours = field_type(ref.datasetType)
    known = registered.get(ref.datasetType.name, ours)
    # The record of a file has the type of the file, from which its reader converts to the registered one.
    converts = known.storageClass_name == "ExposureF" and ours.storageClass_name in _CONVERTIBLE
    return _with_type(ref, ours if converts else known)


def _with_type(ref: DatasetRef, dataset_type: DatasetType) -> DatasetRef:
    if dataset_type is ref.datasetType:
        return ref
    return DatasetRef(dataset_type, ref.dataId, ref.run, id=ref.id, conform=False)


def _with_storage_class(dataset_type: DatasetType, storage_class: str) -> DatasetType:
    # Not `DatasetType.overrideStorageClass`: it imports the Python types to look for a conversion.
    if storage_class == dataset_type.storageClass_name or dataset_type.isComponent():
        return dataset_type
    return DatasetType(
        dataset_type.name,
        dataset_type.dimensions,
        storage_class,
        isCalibration=dataset_type.isCalibration(),
    )
