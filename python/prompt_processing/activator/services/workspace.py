"""The repositories during one visit, from preload to export."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Sequence
from typing import Any

from lsst.daf.butler import Butler, DatasetRef
from lsst.pipe.base.utils import RegionTimeInfo
from lsst.resources import ResourcePath
from lsst.sphgeom import ConvexPolygon

from prompt_processing.butler.collections import NO_PIPELINE
from prompt_processing.butler.export import RECORD_ORDER
from prompt_processing.butler.ingest import VisitRecords
from prompt_processing.butler.pipelines.library import ReadyPipeline, pipeline_stem
from prompt_processing.domain.clock import night
from prompt_processing.domain.errors import IgnorableVisitError, NonRetriableError, PromptError
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.errors import RawError
from prompt_processing.instruments.geometry import detector_region
from prompt_processing.settings.worker import Settings

from .entered_datasets import EnteredDatasets
from .metric_bundles import PRELOAD_BUNDLE, preload_bundle
from .output_runs import OutputRuns
from .pipelines import (
    DataSelection,
    PipelineResult,
    PipelineRun,
    TaskFailedError,
    first_buildable,
    meaning_of_failure,
)
from .preload import PreloadedData, copy_inputs, find_inputs, visit_timespan
from .raws_read_ahead import RawsReadAhead
from .repositories import PROVENANCE, Repositories
from .visit_rules import VisitPipelines

__all__ = ["Repositories", "Workspace"]

_LOG = logging.getLogger("lsst.activator.services.workspace")


class Workspace:
    """The repositories during one visit.

    Parameters
    ----------
    repositories : `Repositories`
        Repositories of the process, used by one visit at a time.
    settings : `Settings`
        Settings of the worker.
    visit : `FannedOutVisit`
        The visit.
    pipelines : `VisitPipelines`
        Pipelines that the configuration selects for it.
    """

    def __init__(
        self,
        repositories: Repositories,
        settings: Settings,
        visit: FannedOutVisit,
        pipelines: VisitPipelines,
    ) -> None:
        self._repositories = repositories
        self._settings = settings
        self._visit = visit
        self._chosen = pipelines
        self._preprocessing = repositories.pipelines.usable(pipelines.preprocessing)
        self._main = repositories.pipelines.usable(pipelines.main)
        self._night = night(time.time())
        self._output_runs = OutputRuns(repositories, self._night)
        self._preload_metrics: dict[str, float] = {}
        self._exposures: set[int] = set()
        self._records: VisitRecords = {}
        self._entered = EnteredDatasets(repositories.local)
        self._raws = RawsReadAhead()
        self._prepared: dict[str, PipelineRun] = {}
        self.preloaded = PreloadedData()

    @property
    def runs(self) -> dict[str, str]:
        """Output run by the stem of the pipeline, `NO_PIPELINE` for the preload."""
        return self._output_runs.used

    def preload(self) -> dict[str, float]:
        """Copy all inputs of the pipelines that are known before the images arrive.

        Returns
        -------
        metrics : `dict` [`str`, `float`]
            Times (s) and numbers of datasets, as in the dataset ``promptPreload_metrics``. The time of
            `run_preprocessing` is added later.

        Raises
        ------
        RetriableError
            Raised if the central repository cannot be reached.
        """
        start = time.monotonic()
        repositories, visit = self._repositories, self._visit
        repositories.begin_night(self._night)
        candidates = self._preprocessing + self._main
        central = repositories.central
        with central.remembering_collections():
            search = time.monotonic()
            self.preloaded = central.ask_together(
                f"Looking for inputs of {visit}",
                lambda: find_inputs(
                    central,
                    repositories.known,
                    repositories.search_order,
                    candidates,
                    visit,
                    self._region(self._settings.preload_padding),
                    skymap=self._settings.skymap,
                    band=repositories.bands.get(visit.filters),
                    further=repositories.further_inputs,
                ),
            )
            transfer = time.monotonic()
            try:
                copy_inputs(central, repositories.local, repositories.cache, self.preloaded)
            except PromptError:
                # They may have been removed since they were found.
                repositories.known.forget()
                raise
        for pipeline in candidates:
            self._output_runs.preload_init_outputs(pipeline)
        self._put_region_time_info()
        end = time.monotonic()
        seconds = end - start
        self._preload_metrics = {
            "prep_butlerTotalTime": seconds,
            "prep_butlerSearchTime": transfer - search,
            "prep_butlerTransferTime": end - transfer,
            "totalTime": seconds,
            "numDatasets": len(self.preloaded.refs),
            "numCopied": self.preloaded.copied,
            **{f"{step}Time": elapsed for step, elapsed in self.preloaded.seconds.items()},
        }
        if not self._chosen.preprocessing:
            self._put_metrics(0.0)
        _LOG.info(
            "Preloaded %d datasets for %s, of which %d were copied, in %.2f s.",
            len(self.preloaded.refs), visit, self.preloaded.copied, seconds,
        )  # fmt: skip
        return self._preload_metrics

    def run_preprocessing(self) -> None:
        """Run the first preprocessing pipeline that can be built, if any is configured.

        Raises
        ------
        RetriableError, NonRetriableError
            Raised if it fails.
        """
        if not self._chosen.preprocessing:
            return
        start = time.monotonic()
        try:
            self._run_first_preprocessing()
        # Any failure has its metrics too; an interruption leaves no time for them.
        except Exception:
            self._put_metrics(time.monotonic() - start)
            raise
        self._put_metrics(time.monotonic() - start)

    def _run_first_preprocessing(self) -> None:
        # To make the run of the main pipeline takes 0.03 s, for which no image waits yet.
        self._prepared = {one.path: self._pipeline_run(one) for one in self._main[:1]}
        run = first_buildable(map(self._pipeline_run, self._preprocessing), self._data_selection())
        if run is None:
            _LOG.warning("No preprocessing pipeline can be built for %s.", self._visit)
            return
        try:
            self._execute(run)
        except TaskFailedError as failure:
            # Nothing writes to the APDB before images arrive.
            raise meaning_of_failure(failure, changed=False) from failure

    def ingest(self, images: Sequence[ResourcePath]) -> tuple[int, ...]:
        """Ingest raw images.

        Parameters
        ----------
        images : sequence of `~lsst.resources.ResourcePath`
            Files of this visit and detector.

        Returns
        -------
        exposures : `tuple` [`int`]
            Exposure ids of all usable images, of this and of earlier calls.
            An unusable image is dropped with a warning.
        """
        ingester, local = self._repositories.ingester, self._repositories.local
        for image in images:
            try:
                with self._entered.adding() as added:
                    ingested = ingester.ingest(self._visit, image, self._exposures)
                    added.append(ingested.ref)
                self._raws.begin(ingested.ref, local.butler.getURI(ingested.ref).ospath)
            except (RawError, OSError) as error:
                _LOG.warning("Image %s is dropped: %s", image, error)
                continue
            self._exposures.add(ingested.exposure)
            for element, rows in ingested.records.items():
                known = self._records.setdefault(element, [])
                known += [row for row in rows if row not in known]
        return tuple(sorted(self._exposures))

    def run_pipeline(self) -> PipelineResult:
        """Run the first main pipeline that can be built on all ingested images.

        Returns
        -------
        result : `PipelineResult`
            Result of the pipeline.

        Raises
        ------
        IgnorableVisitError
            Raised if the configuration selects no pipeline.
        RetriableError, NonRetriableError
            Raised if no pipeline can be built, or if it fails.
        """
        visit = self._visit
        if not self._chosen.main:
            raise IgnorableVisitError(f"No pipeline is configured for {visit}.")
        data = self._data_selection(sorted(self._exposures))
        run = first_buildable(map(self._pipeline_run, self._main), data)
        if run is None:
            names = ", ".join(self._described(path) for path in self._chosen.main)
            raise NonRetriableError(
                f"None of the pipelines {names} can be built for {visit}{self._what_is_missing()}.", "useless"
            )
        try:
            return self._execute(run)
        except TaskFailedError as failure:
            raise meaning_of_failure(failure, self.permanently_changed()) from failure

    def _execute(self, run: PipelineRun) -> PipelineResult:
        with self._entered.adding() as added:
            result = run.execute(self._provenance(run))
            added += result.outputs or []
        if result.outputs is None:
            self._entered.forget()
        return result

    def permanently_changed(self) -> bool | None:
        """Return whether the APDB holds anything of this visit; `None` if it does not answer."""
        return self._repositories.apdb.contains(self._exposures, self._visit.detector)

    def export(self) -> int:
        """Hand all outputs over to the central repository.

        Returns
        -------
        n_datasets : `int`
            Number of datasets handed over.

        Raises
        ------
        RetriableError, NonRetriableError
            Raised if the export fails.
        """
        if not self._settings.debug_export_outputs:
            return 0
        repositories = self._repositories
        records = [(element, self._records.get(element, [])) for element in RECORD_ORDER]
        return repositories.exporter.export(
            repositories.local,
            self._entered.of_runs(self.runs.values()),
            records,
            repositories.central.collections.output_chain(self._night),
        )

    def clean(self) -> None:
        """Remove raws, outputs and evicted inputs from the local repository."""
        repositories = self._repositories
        collections = repositories.local.collections
        held = self._entered.of_runs([*self.runs.values(), collections.raw])
        # Init-outputs have no detector; the next visit uses them too.
        of_visit = [ref for ref in held if "detector" in ref.datasetType.dimensions]
        repositories.local.discard([*of_visit, *repositories.cache.evict()])
        # A visit without images imports and compiles little.
        is_first = bool(self._exposures) and not repositories.visited
        self._output_runs.clear()
        self._exposures.clear()
        self._records.clear()
        self._entered.clear()
        self._raws.clear()
        # Images in reference cycles would otherwise stay in memory beside those of the next visit.
        gc.collect()
        if is_first:
            # What the first visit imported and compiled stays, and would be scanned after each visit.
            gc.freeze()
            repositories.visited = True

    def _what_is_missing(self) -> str:
        """Return which inputs the least demanding pipeline lacks, as the end of a sentence."""
        if not self._main:
            return ""
        least = self._main[-1]
        needed = least.needed_inputs()
        missing = sorted(
            dataset_type.name
            for dataset_type, _ in least.inputs()
            if dataset_type.name in needed and not self.preloaded.count(dataset_type.name)
        )
        if not missing:
            return ""
        return f": {least.stem} lacks {', '.join(missing)} of this detector, filter and time"

    def _data_selection(self, exposures: Sequence[int] | None = None) -> DataSelection:
        where = "instrument = the_instrument AND detector = the_detector"
        bind: dict[str, Any] = {
            "the_instrument": self._visit.instrument,
            "the_detector": self._visit.detector,
        }
        if exposures is not None:
            where += " AND exposure IN (:the_exposures)"
            bind["the_exposures"] = exposures
        # Only exposures connect a visit to its group, and not every pipeline's query involves exposures.
        return DataSelection(where, bind, {"skymap": self._settings.skymap, "group": self._visit.groupId})

    def _described(self, path: str) -> str:
        missing = path in self._repositories.pipelines.missing
        return f"{pipeline_stem(path)} (no file {path})" if missing else pipeline_stem(path)

    def _pipeline_run(self, pipeline: ReadyPipeline) -> PipelineRun:
        if pipeline.path in self._prepared:
            return self._prepared.pop(pipeline.path)
        local = self._repositories.local
        output = self._output_runs.run_of(pipeline.stem)
        inputs = [run for run in self.runs.values() if run != output]
        butler: Butler = local.butler.clone(
            collections=[*inputs, local.collections.raw, local.collections.defaults],
            run=output,
            # The data are named in full; to infer defaults takes a query for each collection.
            inferDefaults=False,
        )
        return PipelineRun(butler, pipeline, self._repositories.connections, local.release, self._raws)

    def _provenance(self, run: PipelineRun) -> DatasetRef:
        """Return the dataset for a pipeline's provenance, in its output run."""
        local, visit = self._repositories.local, self._visit
        data_id = local.butler.registry.expandDataId(
            instrument=visit.instrument, group=visit.groupId, detector=visit.detector
        )
        return DatasetRef(
            local.butler.get_dataset_type(PROVENANCE), data_id, run=self._output_runs.run_of(run.stem)
        )

    def _put_region_time_info(self) -> None:
        local, visit = self._repositories.local, self._visit
        record = local.butler.dimensions["group"].RecordClass(instrument=visit.instrument, name=visit.groupId)
        local.insert("group", [record])
        self._records["group"] = [record]
        region = self._region(0.0)
        if region is not None:
            self._put(RegionTimeInfo(region=region, timespan=visit_timespan(visit)), "regionTimeInfo")

    def _put_metrics(self, preprocessing_seconds: float) -> None:
        """Put the metrics of the preload, once all that it consists of is done or has failed."""
        metrics = self._preload_metrics
        metrics["prep_butlerPreprocessTime"] = preprocessing_seconds
        metrics["prep_butlerTotalTime"] = metrics.get("prep_butlerTotalTime", 0.0) + preprocessing_seconds
        self._put(preload_bundle(metrics), PRELOAD_BUNDLE)

    def _put(self, product: Any, dataset_type: str) -> None:
        with self._entered.adding() as added:
            added.append(
                self._repositories.local.butler.put(
                    product,
                    dataset_type,
                    instrument=self._visit.instrument,
                    group=self._visit.groupId,
                    detector=self._visit.detector,
                    run=self._output_runs.run_of(NO_PIPELINE),
                )
            )

    def _region(self, padding_arcsec: float) -> ConvexPolygon | None:
        visit, camera = self._visit, self._repositories.camera
        if visit.ra is None or visit.dec is None or visit.rotation is None:
            return None
        return detector_region(
            camera,
            camera.detector(visit.detector),
            visit.ra,
            visit.dec,
            visit.rotation,
            padding_arcsec=padding_arcsec,
        )
