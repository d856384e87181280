"""Load pipelines once, to run them many times."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from lsst.daf.butler import Butler, DatasetType, DimensionUniverse
from lsst.pipe.base.pipeline_graph import PipelineGraph

from .pipeline_files import PipelineError, read_pipeline

_LOG = logging.getLogger("lsst.activator.storage.pipeline_library")

_FROM_THE_VISIT = {"group", "exposure", "visit", "day_obs"}


class InputKind(Enum):
    """How to find the datasets of an input for a visit."""

    CALIBRATION = "by the time at which they are valid"
    SKY = "by the region of the sky that they are of"
    OTHER = "by the instrument, detector, filter and sky map alone"


@dataclass(frozen=True, slots=True, eq=False)
class ReadyPipeline:
    """A pipeline with all its tasks imported and configured.

    Attributes
    ----------
    path : `str`
        File name, possibly with a fragment that selects tasks.
    stem : `str`
        Stem of the file name, used in the names of output runs.
    graph : `~lsst.pipe.base.pipeline_graph.PipelineGraph`
        Resolved graph; copy it before passing it to anything that may change it.
    """

    path: str
    stem: str
    graph: PipelineGraph

    def to_graph(self) -> PipelineGraph:
        """Return the graph for a quantum graph builder, as `lsst.pipe.base.Pipeline.to_graph` does."""
        return self.graph.copy()

    @property
    def labels(self) -> frozenset[str]:
        """Labels of all tasks."""
        return frozenset(self.graph.tasks)

    def inputs(self) -> Iterator[tuple[DatasetType, InputKind]]:
        """Yield the inputs that the local repository must have before images arrive."""
        for _, node in self.graph.iter_overall_inputs():
            if node is None or _FROM_THE_VISIT & set(node.dimensions.names):
                continue
            if node.is_calibration:
                yield node.dataset_type, InputKind.CALIBRATION
            elif node.dimensions.spatial:
                yield node.dataset_type, InputKind.SKY
            else:
                yield node.dataset_type, InputKind.OTHER

    def needed_inputs(self) -> frozenset[str]:
        """Return the names of the overall inputs without which a task cannot run."""
        needed: set[str] = set()
        for task in self.graph.tasks.values():
            connections = task.get_connections()
            for edge in (*task.inputs.values(), *task.prerequisite_inputs.values()):
                if getattr(connections, edge.connection_name).minimum > 0:
                    needed.add(edge.parent_dataset_type_name)
        return frozenset(needed)

    def last_readers(self) -> dict[str, str]:
        """Return the label of the last task that reads each overall input, by the dataset type's name."""
        readers: dict[str, str] = {}
        for label, task in self.graph.tasks.items():
            for edge in task.inputs.values():
                readers[edge.parent_dataset_type_name] = label
        return {name: readers[name] for name, _ in self.graph.iter_overall_inputs() if name in readers}

    def init_outputs(self) -> Iterator[str]:
        """Yield the names of the datasets that the initializer writes into an output run."""
        for task in self.graph.tasks.values():
            for edge in task.init.iter_all_outputs():
                yield edge.parent_dataset_type_name
        yield self.graph.packages_dataset_type.name


class PipelineLibrary:
    """All pipelines that a worker may run.

    Parameters
    ----------
    paths : iterable of `str`
        Pipeline files, with environment variables expanded.
    dataset_types : mapping
        Dataset types that the central repository has registered, by name.
    universe : `~lsst.daf.butler.DimensionUniverse`
        Universe of the central repository.

    Attributes
    ----------
    missing : `dict` [`str`, `str`]
        Reason for each pipeline whose file does not exist. A selection may name such files; visits then use
        the next pipeline of their node.

    Raises
    ------
    PipelineError
        Raised if a file exists and is not a pipeline, or if its tasks cannot be imported and configured.
    """

    def __init__(
        self, paths: Iterable[str], dataset_types: Mapping[str, DatasetType], universe: DimensionUniverse
    ) -> None:
        self._pipelines: dict[str, ReadyPipeline] = {}
        self.missing: dict[str, str] = {}
        for path in paths:
            try:
                pipeline = read_pipeline(path)
            except FileNotFoundError as error:
                self.missing[path] = str(error)
                _LOG.error("%s. Visits use the next pipeline of their node.", error)
                continue
            try:
                graph = pipeline.to_graph()
                graph.resolve(dimensions=universe, dataset_types=dataset_types)
            except Exception as error:
                raise PipelineError(
                    f"Pipeline {path} is unusable: {type(error).__name__}: {error}"
                ) from error
            self._pipelines[path] = ReadyPipeline(path, pipeline_stem(path), graph)

    def usable(self, paths: Iterable[str]) -> list[ReadyPipeline]:
        """Return the pipelines whose files exist, in the same order."""
        return [self._pipelines[path] for path in paths if path not in self.missing]

    def __iter__(self) -> Iterator[ReadyPipeline]:
        return iter(self._pipelines.values())

    def dataset_types(self) -> tuple[DatasetType, ...]:
        """Return the dataset types of all pipelines, inputs and outputs, each once."""
        dataset_types: dict[str, DatasetType] = {}
        for pipeline in self:
            for node in pipeline.graph.dataset_types.values():
                dataset_types.setdefault(node.name, node.dataset_type)
            packages = pipeline.graph.packages_dataset_type
            dataset_types.setdefault(packages.name, packages)
        return tuple(dataset_types.values())

    def register_dataset_types(self, butler: Butler) -> None:
        """Register the dataset types of all pipelines, inputs and outputs.

        Parameters
        ----------
        butler : `~lsst.daf.butler.Butler`
            Writeable butler.
        """
        for dataset_type in self.dataset_types():
            butler.registry.registerDatasetType(dataset_type)


def pipeline_stem(path: str) -> str:
    """Return the stem of a pipeline file, used in the names of its output runs."""
    return PurePath(path.partition("#")[0]).stem
