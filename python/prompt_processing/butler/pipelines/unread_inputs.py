"""Optional inputs that a repository has in a form that no task here reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lsst.daf.butler import DatasetType, DimensionUniverse, StorageClassFactory
from lsst.pipe.base.pipeline_graph import PipelineGraph, ReadEdge

from ..field_types import own_type
from .output_names import OWN_NAME, outputs_of, type_of, words_for

__all__ = ["UnreadInput", "unread_inputs"]


@dataclass(frozen=True, slots=True)
class UnreadInput:
    """A dataset type of a repository that the tasks could use, but not read.

    Attributes
    ----------
    ours, theirs : `str`
        Storage classes, with the dimensions if these differ.
    name : `str`
        Name under which the tasks look for the input instead.
    """

    ours: str
    theirs: str
    name: str

    def __str__(self) -> str:
        return (
            f"it has {self.theirs}, which is not read as {self.ours}; visits go without it, unless there is "
            f"a {self.name}"
        )


def unread_inputs(
    graphs: Iterable[PipelineGraph],
    registered: Mapping[str, DatasetType],
    universe: DimensionUniverse,
    names: Mapping[str, str],
) -> dict[str, UnreadInput]:
    """Find inputs that no task needs, and whose types in a repository no task can read.

    Parameters
    ----------
    graphs : iterable of `~lsst.pipe.base.pipeline_graph.PipelineGraph`
        Pipelines; they need not be resolved.
    registered : mapping
        Dataset types of the repository, by name.
    universe : `~lsst.daf.butler.DimensionUniverse`
        Universe of the repository.
    names : mapping
        Names that the configuration gives to dataset types, by the names in the pipelines.

    Returns
    -------
    unread : `dict` [`str`, `UnreadInput`]
        By the name in the pipelines; without those that the configuration renames.
    """
    graphs = list(graphs)
    made_here = outputs_of(graphs)
    found: dict[str, UnreadInput] = {}
    needed: set[str] = set()
    for edge, is_needed in _inputs(graphs):
        name = edge.parent_dataset_type_name
        theirs = registered.get(name)
        if is_needed:
            needed.add(name)
        # The repository chooses the pixels of catalogues of the sky.
        if theirs is None or name in made_here or name in names or "skypix" in edge.raw_dimensions:
            continue
        ours = type_of(edge, universe, is_calibration=edge.is_calibration)
        if not _is_read(ours, theirs):
            found[name] = UnreadInput(*words_for(ours, theirs), OWN_NAME.format(name))
    return {name: one for name, one in found.items() if name not in needed}


def _inputs(graphs: Iterable[PipelineGraph]) -> Iterator[tuple[ReadEdge, bool]]:
    """Yield inputs and whether the task cannot run without them."""
    for graph in graphs:
        for task in graph.tasks.values():
            connections = task.get_connections()
            for edge in task.iter_all_inputs():
                yield edge, getattr(connections, edge.connection_name).minimum > 0


def _is_read(ours: DatasetType, theirs: DatasetType) -> bool:
    if theirs.storageClass_name not in StorageClassFactory():
        return False
    return ours.is_compatible_with(own_type(theirs))
