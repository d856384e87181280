"""Names of the pipelines' dataset types in a repository that has other types of the same names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lsst.daf.butler import DatasetType, DimensionUniverse, StorageClassFactory
from lsst.pipe.base import Pipeline
from lsst.pipe.base.pipeline_graph import Edge, PipelineGraph, TaskInitNode, TaskNode

from ..field_types import field_storage_class

__all__ = [
    "OWN_NAME",
    "OtherType",
    "fits",
    "outputs_of",
    "rename",
    "type_of",
    "types_in_the_way",
    "words_for",
]

OWN_NAME = "prompt_{}"
"""Name of a dataset type of ours whose usual name is taken."""

_OF_VISITS = frozenset({"ExposureF", "VisitImage", "DifferenceImage"})
_IMAGES = {
    "Exposure": _OF_VISITS | {"MaskedImageV2"},
    "ExposureF": _OF_VISITS,
    "MaskedImageV2": _OF_VISITS,
    "VisitImage": _OF_VISITS,
    "DifferenceImage": frozenset({"ExposureF"}),
}
"""Other storage classes of files that are read for a registered one: derived ones, and those that convert."""


@dataclass(frozen=True, slots=True)
class OtherType:
    """A dataset type of a repository that our output of the same name does not fit.

    Attributes
    ----------
    ours, theirs : `str`
        Storage classes, with the dimensions if these differ.
    name : `str`
        Name of our output in the repository.
    """

    ours: str
    theirs: str
    name: str

    def __str__(self) -> str:
        return (
            f"it has {self.theirs}, to which {self.ours} cannot be converted; ours are written as {self.name}"
        )


def outputs_of(graphs: Iterable[PipelineGraph]) -> set[str]:
    """Return the names of all outputs of some pipelines, also of those that are not resolved."""
    return {
        edge.parent_dataset_type_name
        for graph in graphs
        for task in graph.tasks.values()
        for edge in task.iter_all_outputs()
    }


def type_of(edge: Edge, universe: DimensionUniverse, *, is_calibration: bool) -> DatasetType:
    """Return the dataset type of an input or output of a pipeline that need not be resolved."""
    return DatasetType(
        edge.parent_dataset_type_name,
        universe.conform(edge.raw_dimensions),
        edge.storage_class_name,
        isCalibration=is_calibration,
    )


def types_in_the_way(
    graphs: Iterable[PipelineGraph],
    registered: Mapping[str, DatasetType],
    universe: DimensionUniverse,
    names: Mapping[str, str],
) -> dict[str, OtherType]:
    """Find outputs whose names a repository has for something else.

    Parameters
    ----------
    graphs : iterable of `~lsst.pipe.base.pipeline_graph.PipelineGraph`
        Pipelines; they need not be resolved.
    registered : mapping
        Dataset types of the repository, by name.
    universe : `~lsst.daf.butler.DimensionUniverse`
        Universe of the repository.
    names : mapping
        Names that the configuration gives to outputs, by the names in the pipelines.

    Returns
    -------
    others : `dict` [`str`, `OtherType`]
        By the name in the pipelines; without those that the configuration renames.
    """
    found: dict[str, OtherType] = {}
    for graph in graphs:
        for task in graph.tasks.values():
            for edge in task.iter_all_outputs():
                name = edge.parent_dataset_type_name
                theirs = registered.get(name)
                if theirs is None or name in names or name in found or not _is_connection(task, edge):
                    continue
                ours = type_of(edge, universe, is_calibration=theirs.isCalibration())
                if not fits(ours, theirs):
                    found[name] = OtherType(*words_for(ours, theirs), OWN_NAME.format(name))
    return found


def rename(pipeline: Pipeline, graph: PipelineGraph, names: Mapping[str, str]) -> bool:
    """Give dataset types of a pipeline other names.

    Parameters
    ----------
    pipeline : `~lsst.pipe.base.Pipeline`
        Changed in place.
    graph : `~lsst.pipe.base.pipeline_graph.PipelineGraph`
        Its graph, which need not be resolved, and is not changed.
    names : mapping
        New name by the name in the pipeline.

    Returns
    -------
    renamed : `bool`
        Whether there was anything to rename.
    """
    renamed = False
    for label, task in graph.tasks.items():
        edges = [*task.iter_all_inputs(), *task.iter_all_outputs()]
        edges += [*task.init.iter_all_inputs(), *task.init.iter_all_outputs()]
        for edge in edges:
            new = names.get(edge.parent_dataset_type_name)
            if new is not None and _is_connection(task, edge):
                pipeline.addConfigOverride(label, f"connections.{edge.connection_name}", new)
                renamed = True
    return renamed


def _is_connection(task: TaskNode | TaskInitNode, edge: Edge) -> bool:
    """Return whether a dataset type has a name that can be configured, unlike logs and metadata."""
    return hasattr(task.config.connections, edge.connection_name)


def fits(ours: DatasetType, theirs: DatasetType) -> bool:
    """Return whether an output of one of our tasks can be of a registered type of the same name."""
    if ours.dimensions != theirs.dimensions:
        return False
    storage_class, known = field_storage_class(ours), theirs.storageClass_name
    if known == storage_class:
        return True
    if known in _IMAGES:
        return storage_class in _IMAGES[known]
    if known == ours.storageClass_name:
        return True
    factory = StorageClassFactory()
    if known not in factory:
        return False
    candidates = (factory.getStorageClass(one) for one in (storage_class, ours.storageClass_name))
    return any(theirs.storageClass.can_convert(one) for one in candidates)


def words_for(ours: DatasetType, theirs: DatasetType) -> tuple[str, str]:
    """Return the storage classes of two dataset types, with their dimensions if these differ."""
    words = []
    for one in (ours, theirs):
        dimensions = (
            f" by {', '.join(one.dimensions.required)}" if ours.dimensions != theirs.dimensions else ""
        )
        words.append(f"{one.storageClass_name}{dimensions}")
    return words[0], words[1]
