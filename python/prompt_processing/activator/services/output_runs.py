"""The runs that a visit's outputs go into, with the init-outputs that they begin with."""

from __future__ import annotations

import logging

from prompt_processing.butler.pipelines.library import ReadyPipeline

from .repositories import Repositories

__all__ = ["OutputRuns"]

_LOG = logging.getLogger("lsst.activator.services.output_runs")


class OutputRuns:
    """Output runs of one visit in the local repository.

    Parameters
    ----------
    repositories : `Repositories`
        Repositories of the process.
    night : `str`
        Night of the visit, as in the names of collections.
    """

    def __init__(self, repositories: Repositories, night: str) -> None:
        self._repositories = repositories
        self._night = night
        self._used: dict[str, str] = {}

    @property
    def used(self) -> dict[str, str]:
        """Used run by the stem of the pipeline."""
        return dict(self._used)

    def run_of(self, pipeline: str) -> str:
        """Return the output run of a pipeline, and remember that it is used."""
        repositories = self._repositories
        run = repositories.local.collections.output_run(self._night, pipeline, repositories.deployment)
        if pipeline not in self._used:
            repositories.local.butler.collections.register(run)
            self._used[pipeline] = run
        return run

    def preload_init_outputs(self, pipeline: ReadyPipeline) -> None:
        """Copy the init-outputs of a pipeline, once a night."""
        repositories = self._repositories
        run = self.run_of(pipeline.stem)
        if run in repositories.initialized_runs:
            return
        refs = repositories.central.find_init_outputs(run, pipeline.init_outputs())
        if refs:
            repositories.local.receive(repositories.central.writer, refs)
        else:
            _LOG.warning(
                "The central repository has no init-outputs in %s: run prompt initializer once a night.", run
            )
        repositories.initialized_runs.add(run)

    def clear(self) -> None:
        """Forget which runs are used."""
        self._used.clear()
