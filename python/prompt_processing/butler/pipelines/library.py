"""Load pipelines once, to run them many times."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from lsst.daf.butler import Butler, DatasetType, DimensionUniverse
from lsst.pipe.base import Pipeline
from lsst.pipe.base.pipeline_graph import PipelineGraph

from ..field_types import field_type, own_types
from .files import PipelineError, read_prompt_pipeline
from .output_names import OtherType, outputs_of, rename, types_in_the_way
from .unread_inputs import UnreadInput, unread_inputs

_LOG = logging.getLogger("lsst.activator.storage.pipeline_library")

_FROM_THE_VISIT = {"group", "exposure", "visit", "day_obs"}


class InputKind(Enum):
    """How to find the datasets of an input for a visit."""

    CALIBRATION = "by the time at which they are valid"
    SKY = "by the region of the sky that they are of"
    OTHER = "by the instrument, detector, filter and sky map alone"


def input_kind(dataset_type: DatasetType) -> InputKind | None:
    """Return how to find datasets of a type before images arrive; `None` if they belong to the images."""
    if _FROM_THE_VISIT & set(dataset_type.dimensions.names):
        return None
    if dataset_type.isCalibration():
        return InputKind.CALIBRATION
    return InputKind.SKY if dataset_type.dimensions.spatial else InputKind.OTHER


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
            kind = None if node is None else input_kind(node.dataset_type)
            if node is not None and kind is not None:
                yield node.dataset_type, kind

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
            for edge in (*task.inputs.values(), *task.prerequisite_inputs.values()):
                readers[edge.parent_dataset_type_name] = label
        return {name: readers[name] for name, _ in self.graph.iter_overall_inputs() if name in readers}

    def init_outputs(self) -> Iterator[str]:
        """Yield the names of the datasets that the initializer writes into an output run."""
        for task in self.graph.tasks.values():
            for edge in task.init.iter_all_outputs():
                yield edge.parent_dataset_type_name
        yield self.graph.packages_dataset_type.name


class PipelineLibrary:
    """All pipelines that a worker may run, without their tasks that no alert waits for.

    Parameters
    ----------
    paths : iterable of `str`
        Pipeline files, with environment variables expanded.
    dataset_types : mapping
        Dataset types that the central repository has registered, by name.
    universe : `~lsst.daf.butler.DimensionUniverse`
        Universe of the central repository.
    names : mapping, optional
        Names of dataset types in the repository, by their names in the pipelines, where they differ.
    registered : mapping, optional
        Dataset types that outputs must fit, if they are not ``dataset_types``.

    Attributes
    ----------
    others : `dict` [`str`, `OtherType`]
        Outputs that have other names in the repository, because it has another type of their name.
    unread : `dict` [`str`, `UnreadInput`]
        Inputs that visits go without, because no task reads the type that the repository has.
    missing : `dict` [`str`, `str`]
        Reason for each pipeline whose file does not exist. A selection may name such files; visits then use
        the next pipeline of their node.

    Raises
    ------
    PipelineError
        Raised if a file exists and is not a pipeline, or if its tasks cannot be imported and configured.
    """

    def __init__(
        self,
        paths: Iterable[str],
        dataset_types: Mapping[str, DatasetType],
        universe: DimensionUniverse,
        names: Mapping[str, str] | None = None,
        registered: Mapping[str, DatasetType] | None = None,
    ) -> None:
        self._pipelines: dict[str, ReadyPipeline] = {}
        self.missing: dict[str, str] = {}
        read: dict[str, tuple[Pipeline, PipelineGraph]] = {}
        for path in paths:
            try:
                pipeline = read_prompt_pipeline(path)
            except FileNotFoundError as error:
                self.missing[path] = str(error)
                _LOG.error("%s. Visits use the next pipeline of their node.", error)
                continue
            with _unusable(path):
                read[path] = pipeline, pipeline.to_graph()
        graphs = [graph for _, graph in read.values()]
        known = dataset_types if registered is None else registered
        self.others = types_in_the_way(graphs, known, universe, names or {})
        self.unread = unread_inputs(graphs, dataset_types, universe, names or {})
        in_the_way: dict[str, OtherType | UnreadInput] = {**self.others, **self.unread}
        for name, other in in_the_way.items():
            _LOG.warning("The repository has another %s: %s.", name, other)
        new_names = {**{name: other.name for name, other in in_the_way.items()}, **(names or {})}
        # Outputs are of the types that the tasks define; `.field_types` has those of the repository.
        outputs = {new_names.get(name, name) for name in outputs_of(graphs)}
        inputs = {name: one for name, one in own_types(dataset_types).items() if name not in outputs}
        for path, (pipeline, graph) in read.items():
            with _unusable(path):
                if rename(pipeline, graph, new_names):
                    graph = pipeline.to_graph()
                graph.resolve(dimensions=universe, dataset_types=inputs)
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
        """Register the dataset types of all pipelines, inputs and outputs, as the tasks define them.

        Parameters
        ----------
        butler : `~lsst.daf.butler.Butler`
            Writeable butler of the local repository.
        """
        for dataset_type in self.dataset_types():
            butler.registry.registerDatasetType(dataset_type)

    def register_for_others(self, butler: Butler) -> None:
        """Register the dataset types of all pipelines as others know them (see `.field_types`).

        Parameters
        ----------
        butler : `~lsst.daf.butler.Butler`
            Writeable butler of the central repository; types that it has stay as they are.
        """
        known = {one.name for one in butler.registry.queryDatasetTypes()}
        for dataset_type in self.dataset_types():
            if dataset_type.name not in known:
                butler.registry.registerDatasetType(field_type(dataset_type))


@contextmanager
def _unusable(path: str) -> Iterator[None]:
    try:
        yield
    # Tasks are imported and configured here: their code may raise anything.
    except Exception as error:
        raise PipelineError(f"Pipeline {path} is unusable: {type(error).__name__}: {error}") from error


def pipeline_stem(path: str) -> str:
    """Return the stem of a pipeline file, used in the names of its output runs."""
    return PurePath(path.partition("#")[0]).stem
