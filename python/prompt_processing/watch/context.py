"""The worker's own services, with a folder in place of bucket, topic and broker."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lsst.resources import ResourcePath

from prompt_processing.activator.services.interruption import Interruption
from prompt_processing.activator.services.metric_bundles import task_metrics
from prompt_processing.activator.services.process_visit import ProcessVisit
from prompt_processing.activator.services.repositories import Repositories
from prompt_processing.activator.services.visit_rules import VisitPipelines, VisitRules
from prompt_processing.activator.services.wait_for_snaps import WaitForSnaps
from prompt_processing.activator.services.workspace import Workspace
from prompt_processing.activator.storage.image_bucket import ArrivedImage
from prompt_processing.alerts.unsent import UnsentAlerts
from prompt_processing.butler.opening import open_repository
from prompt_processing.butler.pipelines.files import pipelines_folder
from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.errors import RepositoryProblemError, RetriableError
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.selection import PipelineSelection, SelectionNode
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.initializer.night import InitializedNights
from prompt_processing.instruments.camera import Camera, load_camera
from prompt_processing.nights.publishing import FolderSink, OutcomePublisher, make_publisher
from prompt_processing.settings.worker import Settings
from prompt_processing.telemetry.logs import LogContext
from prompt_processing.telemetry.metrics import Metrics
from prompt_processing.telemetry.running_version import RunningVersion

from .left_outputs import has_outputs, without_apdb
from .own_apdb import own_apdb

__all__ = ["IN_APDB", "ProcessedImage", "WatchContext", "WatchOptions"]

_log = logging.getLogger("lsst.watch.context")

_MAIN_PIPELINES = ("ApPipe.yaml", "SingleFrame.yaml", "Isr.yaml")
IN_APDB = "APDB holds this visit already"
"""What the outcome says of an image whose process died after it had written to the APDB."""
_NO_SURVEY = "(outputs of images that are in the APDB)"
_NO_SKY_MAP = "no-sky-map"
"""Name where the repository has none yet: no template is found, and images are only calibrated."""
_SUMMARY = (
    "seeing_fwhm_arcsec",
    "zero_point_mag",
    "limiting_magnitude_5sigma",
    "pointing_offset_arcsec",
)


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What the command line says.

    Attributes
    ----------
    repo
        Central repository.
    instrument
        Short name.
    work
        Folder of everything that the command keeps: journal, APDB, alerts, local repository.
    skymap
        Sky map of the templates; by default the repository's only one. Without any, images are calibrated and
        not differenced.
    pipelines
        Folder of the pipelines; by default the instrument's.
    apdb
        Configuration of an APDB; by default one in `work`.
    alerts
        Folder of the alerts; by default one in `work`.
    """

    repo: str
    instrument: str
    work: Path
    skymap: str | None = None
    pipelines: Path | None = None
    apdb: str | None = None
    alerts: Path | None = None


@dataclass(frozen=True, slots=True)
class ProcessedImage:
    """What became of an image.

    Attributes
    ----------
    outcome
        The worker's outcome.
    summary
        Seeing (arcsec), zero point and depth (mag), distance from the announced position (arcsec), where
        known.
    margin_arcsec
        Margin around the announced position for which templates and reference stars were loaded.
    """

    outcome: Outcome
    summary: dict[str, float]
    margin_arcsec: float = float("inf")


class _NoNotices:
    """The end of a topic that does not exist."""

    connected = False

    def start(self) -> None:
        """Do nothing."""

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        """Return nothing, after the time."""
        time.sleep(seconds)
        return []

    def stop(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _OneFile:
    """The place of the bucket: the file that is processed now."""

    def __init__(self) -> None:
        self.image: ArrivedImage | None = None

    def find(self, visit: FannedOutVisit, now_unix_utc: float) -> list[ArrivedImage]:
        """Return the file."""
        return [] if self.image is None else [self.image]

    def identify(self, notice: ArrivalNotice, visit: FannedOutVisit) -> ArrivedImage | None:
        """Return nothing: there are no notices."""
        return None


class WatchContext:
    """The repositories and services of one process.

    Parameters
    ----------
    options
        The command line.
    camera
        The instrument; by default the one that the options name.

    Raises
    ------
    RepositoryProblemError
        Raised if the repository lacks what every image needs.
    SettingsError
        Raised for unusable settings in the environment.
    """

    def __init__(self, options: WatchOptions, camera: Camera | None = None) -> None:
        use_butler_types()
        options.work.mkdir(parents=True, exist_ok=True)
        self.camera = load_camera(options.instrument) if camera is None else camera
        self.alerts = (options.alerts or options.work / "alerts").absolute()
        self._settings = _settings(options)
        self._alert_stream = replace(self._settings.alert_stream, folder=self.alerts)
        self.has_templates = self._settings.skymap != _NO_SKY_MAP
        self._nights = InitializedNights(self._settings)
        self._file = _OneFile()
        self._workspace: _RememberingWorkspace | None = None
        self._repositories: Repositories | None = None
        self._unsent = UnsentAlerts(self._alert_stream, self._settings.config_apdb)
        self._unsent.begin()
        self._publisher = _publisher(self._settings, options.work)
        self._metrics, self._log_context = Metrics(options.instrument), LogContext(options.instrument)
        self._process = self._visits(
            VisitRules.from_settings(self._settings, self.camera),
            lambda exposures, detector: self._opened().apdb.contains(exposures, detector),
            self._publisher,
        )

    def _visits(
        self,
        rules: VisitRules,
        in_apdb: Callable[[Sequence[int], int], bool | None],
        publisher: OutcomePublisher | None,
    ) -> ProcessVisit:
        return ProcessVisit(
            rules=rules,
            open_workspace=self._open_workspace,
            snaps=WaitForSnaps(_NoNotices(), self._file, 0.0),
            in_apdb=in_apdb,
            interruption=Interruption(self._settings.worker_timeout, self._settings.worker_grace_period),
            metrics=self._metrics,
            log_context=self._log_context,
            publisher=publisher,
            start_afresh=self._close_repositories,
            store_alerts=self._unsent.store,
        )

    def warm(self) -> None:
        """Do in advance what would otherwise delay the first image."""
        self._nights.begin()
        try:
            self._opened()
        except RetriableError as error:
            # The first image is tried again until it works.
            _log.warning("Not everything is ready: %s", error.reason)

    def process(self, visit: FannedOutVisit, file: Path, exposure: int, arrival: float) -> ProcessedImage:
        """Process one detector of a file as the service's worker does.

        Parameters
        ----------
        visit
            Announcement of the image.
        file
            The raw.
        exposure
            Its exposure id.
        arrival
            Time at which the file was complete, Unix seconds, UTC.
        """
        self._nights.begin()
        uri = ResourcePath(str(file), forceAbsolute=True, forceDirectory=False)
        self._file.image = ArrivedImage(uri, exposure, arrival)
        self._workspace = None
        outcome = self._process.process(visit)
        if outcome.status is Status.FAILED and IN_APDB in outcome.reason:
            outcome = self._export_outputs(visit, exposure, outcome)
        values = task_metrics(self._metadata(), "calibrateImage")
        summary = {name: float(values[name]) for name in _SUMMARY if name in values}
        return ProcessedImage(outcome, summary, self._settings.preload_padding)

    def _export_outputs(self, visit: FannedOutVisit, exposure: int, before: Outcome) -> Outcome:
        """Export the outputs of an image whose process died between the APDB and the export.

        The pipeline runs again without the task that writes to the APDB. The image is calibrated and
        differenced as before; its sources are not associated again.
        """
        rest = [path for path in self._settings.main_pipelines_config.paths if "#" in path]
        if not rest:
            return before
        if has_outputs(self._settings.central_repo, visit.instrument, exposure, visit.detector):
            return replace(before, reason=f"The {IN_APDB}, and the repository has its outputs.")
        rules = VisitRules(
            self.camera,
            self._settings.preprocessing_pipelines_config,
            PipelineSelection((SelectionNode(tuple(rest)),)),
            self._settings.message_expiration,
        )
        # The publisher has the outcome of the image itself.
        again = self._visits(rules, lambda exposures, detector: False, None).process(visit)
        if again.status is Status.RETRIABLE:
            return again
        if again.status is Status.PROCESSED:
            reason = f"The {IN_APDB}; {again.exported} outputs were made again and exported."
        else:
            reason = f"The {IN_APDB}; its outputs cannot be made again: {again.reason}"
        _log.info("Exposure %d detector %d: %s", exposure, visit.detector, reason)
        return replace(before, reason=reason, exported=again.exported)

    def _metadata(self) -> Mapping[str, Any]:
        result = None if self._workspace is None else self._workspace.result
        return {} if result is None else result.metadata

    def close(self) -> None:
        """Close all connections, and remove the local repository."""
        self._unsent.end()
        self._publisher.close()
        self._close_repositories()

    def _open_workspace(self, visit: FannedOutVisit, pipelines: VisitPipelines) -> Workspace:
        self._workspace = _RememberingWorkspace(self._opened(), self._settings, visit, pipelines)
        return self._workspace

    def _opened(self) -> Repositories:
        if self._repositories is None:
            opened = Repositories.open(self._settings, self.camera)
            opened.connections = replace(opened.connections, alert_stream=self._alert_stream)
            self._repositories = opened
        return self._repositories

    def _close_repositories(self) -> None:
        repositories, self._repositories = self._repositories, None
        if repositories is not None:
            repositories.close()


class _RememberingWorkspace(Workspace):
    """A visit's view of the repositories, which remembers the pipeline's result."""

    result: Any = None

    def run_pipeline(self) -> Any:
        """Run the pipeline; see the base class."""
        self.result = super().run_pipeline()
        return self.result


def _publisher(settings: Settings, work: Path) -> OutcomePublisher:
    """Publish outcomes where the settings say, by default in the working folder."""

    def software() -> str:
        return RunningVersion.of_this_process().label

    # Never a topic: no cluster is ever asked.
    found = make_publisher(
        settings.kafka, None, settings.outcome_dir, software=software, secrets=settings.secrets
    )
    return found or OutcomePublisher(FolderSink(work / "outcomes"), software)


def _settings(options: WatchOptions) -> Settings:
    folder = (options.pipelines or pipelines_folder(options.instrument)).absolute()
    main = [str(folder / name) for name in _MAIN_PIPELINES if (folder / name).is_file()]
    if not main:
        raise RepositoryProblemError(
            f"{folder} has none of {', '.join(_MAIN_PIPELINES)}: name the pipelines' folder with --pipelines."
        )
    preprocessing = folder / "Preprocessing.yaml"
    rest = [path for one in main if (path := without_apdb(one)) is not None][:1]
    apdb = options.apdb or str(own_apdb(options.work))
    local = options.work / "local"
    local.mkdir(exist_ok=True)
    return Settings.load(
        rubin_instrument=options.instrument,
        skymap=options.skymap or _only_sky_map(options.repo),
        central_repo=options.repo,
        read_central_repo="",
        # Neither bucket nor topic is ever asked.
        image_bucket="unused",
        bucket_topic="unused",
        kafka_cluster="unused:9092",
        preprocessing_pipelines_config=_selection([str(preprocessing)] if preprocessing.is_file() else []),
        main_pipelines_config=_selection(main, rest),
        config_apdb=apdb,
        local_repos=str(local.absolute()),
        alert_keep_dir=str((options.work / "unsent-alerts").absolute()),
    )


def _selection(paths: Sequence[str], rest: Sequence[str] = ()) -> str:
    nodes: list[dict[str, Any]] = [{"pipelines": list(paths)}]
    if rest:
        # No visit is of that survey: the node makes these pipelines known.
        nodes.append({"survey": _NO_SURVEY, "pipelines": list(rest)})
    # JSON is YAML.
    return json.dumps(nodes)


def _only_sky_map(repo: str) -> str:
    with open_repository(repo) as butler:
        names = sorted(
            str(record.name) for record in butler.query_dimension_records("skymap", explain=False, limit=None)
        )
    if len(names) > 1:
        raise RepositoryProblemError(f"{repo} has the sky maps {', '.join(names)}: name one with --skymap.")
    return names[0] if names else _NO_SKY_MAP
