"""Build the quantum graph of a request, and prepare its output run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lsst.daf.butler import Butler, MissingCollectionError
from lsst.pipe.base import Pipeline
from lsst.pipe.base.all_dimensions_quantum_graph_builder import AllDimensionsQuantumGraphBuilder
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph
from lsst.pipe.base.quantum_graph_builder import QuantumGraphBuilderError

from prompt_processing.butler.field_types import field_type
from prompt_processing.butler.pipelines.files import PipelineError, read_pipeline

from .errors import BatchError
from .request import RunRequest

__all__ = ["build_graph", "has_collection", "prepare_run", "read_graph", "register_outputs"]


def build_graph(butler: Butler, request: RunRequest, run: str, path: Path) -> PredictedQuantumGraph:
    """Build the graph of a request and store it.

    Parameters
    ----------
    butler
        The repository.
    run
        Output run. Outputs that it has already are not made again.
    path
        File for the graph; it appears when it is complete.

    Raises
    ------
    BatchError
        Raised if the pipeline cannot be read or configured, or if the query finds nothing to process.
    """
    pipeline = _configured(request.pipeline, request.config)
    exists = has_collection(butler, run)
    try:
        components = AllDimensionsQuantumGraphBuilder(
            pipeline.to_graph(butler.registry),
            butler,
            input_collections=request.inputs,
            output_run=run,
            where=request.where,
            skip_existing_in=[run] if exists else [],
            clobber=exists,
        ).finish(
            output=request.output or None,
            metadata={"data_query": request.where, "pipeline": request.pipeline},
            attach_datastore_records=True,
        )
    except MissingCollectionError as error:
        raise BatchError(f"{request.repo} lacks an input collection: {error}") from error
    except QuantumGraphBuilderError as error:
        raise BatchError(f"no quantum graph can be built from {request.pipeline}: {error}") from error
    if not components.header.n_quanta and not exists:
        raise BatchError(
            f"the query {request.where or '(none)'!r} finds nothing to process for {request.pipeline} in "
            f"{', '.join(request.inputs)}: check the data IDs, and that the collections have every input "
            f"(butler query-datasets {request.repo} --collections {','.join(request.inputs)})"
        )
    unfinished = path.with_suffix(".part.qg")
    components.write(str(unfinished))
    os.replace(unfinished, path)
    return components.assemble()


def read_graph(path: Path) -> PredictedQuantumGraph:
    """Read a stored graph, with all that the execution of its quanta needs."""
    with PredictedQuantumGraph.open(str(path)) as reader:
        reader.read_all()
        return reader.finish()


def register_outputs(butler: Butler, request: RunRequest) -> None:
    """Register the dataset types of a pipeline's outputs, as others know them.

    This comes before the graph is built, which takes the types from the repository.

    Raises
    ------
    BatchError
        Raised if the pipeline cannot be read or configured.
    """
    known = {one.name for one in butler.registry.queryDatasetTypes()}
    graph = _configured(request.pipeline, request.config).to_graph(butler.registry)
    for node in graph.dataset_types.values():
        if node.name not in known:
            butler.registry.registerDatasetType(field_type(node.dataset_type))


def prepare_run(butler: Butler, graph: PredictedQuantumGraph, run: str) -> None:
    """Create the output run with the configurations, software versions and schemas of its tasks.

    What is there already must be the same.

    Raises
    ------
    BatchError
        Raised if the run has another configuration or other software.
    """
    butler.collections.register(run)
    into_run = Butler.from_config(butler=butler, run=run)
    try:
        graph.write_init_outputs(into_run, skip_existing=True)
        graph.write_configs(into_run)
        graph.write_packages(into_run)
    except Exception as error:
        # The middleware raises TypeError, ConflictingDefinitionError and others for the same reason.
        raise BatchError(f"run {run} cannot be extended: {type(error).__name__}: {error}") from error


def _configured(path: str, overrides: Iterable[str]) -> Pipeline:
    try:
        pipeline = read_pipeline(path)
    except (FileNotFoundError, PipelineError) as error:
        raise BatchError(str(error)) from error
    for text in overrides:
        label, colon, assignment = text.partition(":")
        field, equals, value = assignment.partition("=")
        if not (label and colon and field and equals):
            raise BatchError(f"--config {text!r} is not of the form task:field=value")
        try:
            pipeline.addConfigOverride(label, field, value)
        except LookupError as error:
            raise BatchError(f"--config {text}: the pipeline has no task {label!r}") from error
    return pipeline


def has_collection(butler: Butler, name: str) -> bool:
    """Return whether a repository has a collection."""
    try:
        butler.collections.get_info(name)
    except MissingCollectionError:
        return False
    return True
