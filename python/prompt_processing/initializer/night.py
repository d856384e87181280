"""Prepare the central repository for a night of prompt processing."""

from __future__ import annotations

import logging
import random
import time

from lsst.daf.butler import Butler, CollectionType  # type: ignore[attr-defined]
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pipe.base.pipeline_graph import PipelineGraph
from lsst.utils.packages import Packages

from prompt_processing.butler.collections import NO_PIPELINE, Collections
from prompt_processing.butler.deployment import deployment_id
from prompt_processing.butler.opening import open_repository
from prompt_processing.butler.pipelines.library import PipelineLibrary
from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.clock import night as day_of
from prompt_processing.settings.worker import Settings

from .config import InitializerSettings

__all__ = ["InitializedNights", "initialize_night"]

_LOG = logging.getLogger("lsst.initializer")

_ATTEMPTS = 10


def initialize_night(settings: InitializerSettings, night: str) -> tuple[str, ...]:
    """Create a night's output runs and write the init-outputs.

    Parameters
    ----------
    settings : `InitializerSettings`
        Settings; pipelines and APDB must match those of the workers, because
        they determine the names of the runs.
    night : `str`
        Day of observation, ``YYYY-MM-DD``.

    Returns
    -------
    runs : `tuple` [`str`]
        Output runs, including existing ones.

    Raises
    ------
    lsst.daf.butler.registry.ConflictingDefinitionError
        Raised if a run has the configurations of other pipelines.

    Notes
    -----
    This may be called any number of times, and by several jobs at once. Existing datasets are compared and
    kept.
    """
    use_butler_types()
    paths = (*settings.preprocessing_pipelines_config.paths, *settings.main_pipelines_config.paths)
    collections = Collections(settings.rubin_instrument)
    deployment = deployment_id(paths, settings.config_apdb, settings.dataset_type_names)
    chain = collections.output_chain(night)
    with open_repository(settings.central_repo, writeable=True) as butler:
        registered = {known.name: known for known in butler.registry.queryDatasetTypes()}
        library = PipelineLibrary(paths, registered, butler.dimensions, settings.dataset_type_names)
        library.register_for_others(butler)
        runs = [collections.output_run(night, NO_PIPELINE, deployment)]
        graphs = {pipeline: pipeline.to_graph() for pipeline in library}
        # The search of the whole environment takes longer than all else, and its result is the same for each
        # pipeline.
        packages = Packages.fromSystem()
        for pipeline, graph in graphs.items():
            run = collections.output_run(night, pipeline.stem, deployment)
            butler.collections.register(run)
            _write_init_outputs(graph, packages, butler.clone(run=run))
            runs.append(run)
            _LOG.info("Wrote init-outputs of %s to %s.", pipeline.path, run)
        butler.collections.register(runs[0])
        butler.collections.register(chain, CollectionType.CHAINED)
        there = butler.collections.get_info(chain).children
        new = [run for run in dict.fromkeys(runs) if run not in there]
        if new:
            butler.collections.prepend_chain(chain, new)
    return tuple(dict.fromkeys(runs))


class InitializedNights:
    """Initialize each night once, in a process that works without an initializer beside it.

    Parameters
    ----------
    settings
        The worker's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = InitializerSettings.of_worker(settings)
        self._night = ""

    def begin(self) -> None:
        """Write the init-outputs of the day of processing, unless this was done before.

        Raises
        ------
        lsst.daf.butler.registry.ConflictingDefinitionError
            Raised as by `initialize_night`.
        """
        current = day_of(time.time())
        if current != self._night:
            initialize_night(self._settings, current)
            self._night = current


def _write_init_outputs(graph: PipelineGraph, packages: Packages, butler: Butler) -> None:
    for attempts_left in range(_ATTEMPTS - 1, -1, -1):
        try:
            graph.write_configs(butler)
            _write_packages(graph, packages, butler)
            graph.write_init_outputs(butler)
        except ConflictingDefinitionError:
            # Another job writes the same datasets. The next attempt compares with them.
            if not attempts_left:
                raise
            time.sleep(random.uniform(0.2, 1.0))
        else:
            return


def _write_packages(graph: PipelineGraph, packages: Packages, butler: Butler) -> None:
    ref = butler.find_dataset(graph.packages_dataset_type)
    if ref is None:
        butler.put(packages, graph.packages_dataset_type)
        return
    changed = packages.difference(butler.get(ref))
    if changed:
        versions = "; ".join(f"{name}: {was} vs {now}" for name, (now, was) in changed.items())
        raise ConflictingDefinitionError(f"Package versions mismatch: ({versions})")
