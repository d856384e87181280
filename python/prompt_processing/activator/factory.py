"""The long-lived clients of a worker process, and the services made from them."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Self

from prompt_processing.activator.services.first_visit import FirstVisit, LoadingWhileWaiting
from prompt_processing.activator.services.interruption import Interruption
from prompt_processing.activator.services.process_visit import ProcessVisit
from prompt_processing.activator.services.repositories import Repositories
from prompt_processing.activator.services.visit_rules import VisitPipelines, VisitRules
from prompt_processing.activator.services.visit_workspace import VisitWorkspace
from prompt_processing.activator.services.wait_for_snaps import Notices, WaitForSnaps
from prompt_processing.activator.storage.arrived_images import ArrivedImages
from prompt_processing.activator.storage.iers_tables import IersTablesError, import_iers_tables
from prompt_processing.activator.storage.image_bucket import ImageBucket
from prompt_processing.activator.storage.raw_microservice import RawMicroservice
from prompt_processing.alerts.unsent import UnsentAlerts
from prompt_processing.apdb.connection import ApdbConnection
from prompt_processing.apdb.version import check_apdb_version
from prompt_processing.butler.universe import UniverseError, check_universes
from prompt_processing.domain.errors import PromptError
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.camera import Camera, load_camera
from prompt_processing.instruments.raw_store import RawStore
from prompt_processing.nights.publishing import OutcomePublisher, make_publisher
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.worker import Settings
from prompt_processing.telemetry.handover import in_this_context
from prompt_processing.telemetry.logs import LogContext, configure_logging
from prompt_processing.telemetry.metrics import Metrics
from prompt_processing.telemetry.running_version import RunningVersion
from prompt_processing.telemetry.sasquatch import Sasquatch
from prompt_processing.transport.arrival_notices import ArrivalNotices
from prompt_processing.transport.s3 import UnknownProfileError, make_s3_client, require_endpoint, split_bucket

_log = logging.getLogger("lsst.activator.factory")


class ProcessContext:
    """The long-lived clients of one worker process.

    Nothing here survives a fork: make it in the worker process.

    Parameters
    ----------
    settings : `~prompt_processing.settings.worker.Settings`
        Settings.
    camera : `~prompt_processing.instruments.camera.Camera`, optional
        The instrument; by default the one that the settings name.
    notices : `~prompt_processing.activator.services.wait_for_snaps.Notices`, optional
        Arrival notices; by default those of Kafka.
    """

    def __init__(
        self, settings: Settings, camera: Camera | None = None, notices: Notices | None = None
    ) -> None:
        self.settings = settings
        self.camera = load_camera(settings.rubin_instrument) if camera is None else camera
        self.log_context = LogContext(settings.rubin_instrument)
        self.metrics = Metrics(settings.rubin_instrument)
        self.metrics.expect_messages(settings.bucket_topic)
        self.notices: Notices = notices or ArrivalNotices(
            settings.kafka,
            settings.bucket_topic,
            offset_reset=settings.bucket_notification_kafka_offset_reset,
            on_undecodable=self.metrics.undecodable_message,
        )
        profile, _ = split_bucket(settings.image_bucket)
        try:
            require_endpoint(settings.s3_endpoint_url, profile)
        except UnknownProfileError as error:
            raise SettingsError({"IMAGE_BUCKET": str(error)}) from error
        client = partial(
            make_s3_client,
            settings.s3_endpoint_url,
            validate_bucket_names=not settings.lsst_disable_bucket_validation,
            profile=profile,
            connect_timeout=3.0,
            read_timeout=10.0,
            attempts=2,
        )
        self.images = ArrivedImages(
            ImageBucket(RawStore(client, settings.image_bucket)),
            None if settings.raw_microservice is None else RawMicroservice(settings.raw_microservice),
        )
        self.sasquatch = (
            None
            if settings.sasquatch_url is None
            else Sasquatch(
                settings.sasquatch_url, settings.daf_butler_sasquatch_namespace, settings.sasquatch_token
            )
        )
        self.publisher: OutcomePublisher | None = make_publisher(
            settings.kafka,
            settings.outcome_topic,
            settings.outcome_dir,
            software=lambda: self.version().label,
            secrets=settings.secrets,
        )
        self.unsent_alerts = UnsentAlerts(settings.alert_stream, settings.config_apdb)
        self._first_visit = FirstVisit()
        self._apdb = ApdbConnection()
        self._repositories: Repositories | None = None

    @classmethod
    def from_environment(cls) -> Self:
        """Read the settings and start logging.

        Raises
        ------
        ~prompt_processing.settings.environment.SettingsError
            Raised with all settings that are missing or malformed.
        """
        context = cls(Settings.load())
        context.start_logging()
        return context

    def start_logging(self) -> None:
        """Write the process's log to standard error, as JSON lines."""
        configure_logging(self.log_context, self.settings.service_log_levels, secrets=self.settings.secrets)

    @property
    def ready(self) -> bool:
        """Whether a visit would find the repositories open."""
        return self._repositories is not None

    def repositories(self) -> Repositories:
        """Return the repositories; the first call opens them.

        Raises
        ------
        RetriableError
            Raised if the central repository cannot be reached.
        UniverseError
            Raised if its dimensions do not match this software.
        """
        if self._repositories is None:
            repositories = Repositories.open(self.settings, self.camera, self._apdb)
            central = repositories.central
            try:
                check_universes(
                    central.reader.dimensions,
                    central.writer.dimensions,
                    self.settings.input_repo,
                    self.settings.central_repo,
                )
            except UniverseError:
                repositories.close()
                raise
            self._repositories = repositories
            self.metrics.ready()
        return self._repositories

    @property
    def waited_for(self) -> Notices:
        """The arrival notices; what the first visit needs is loaded while a visit waits for them."""
        return LoadingWhileWaiting(self.notices, self._first_visit)

    def open_workspace(self, visit: FannedOutVisit, pipelines: VisitPipelines) -> VisitWorkspace:
        """Return a visit's view of the repositories.

        Parameters
        ----------
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit.
        pipelines : `~prompt_processing.activator.services.visit_rules.VisitPipelines`
            The pipelines to run.

        Returns
        -------
        workspace : `VisitWorkspace`
            For this visit only.
        """
        self._first_visit.pause()
        # With what executes pipelines, which no worker needs to accept a visit.
        from prompt_processing.activator.services.workspace import Workspace

        return Workspace(self.repositories(), self.settings, visit, pipelines)

    def in_apdb(self, exposures: Sequence[int], detector: int) -> bool | None:
        """Return whether the APDB holds any of these exposures of a detector; `None` if unknown."""
        return self.repositories().apdb.contains(exposures, detector)

    def version(self) -> RunningVersion:
        """Return the running version, with the deployment's id if the repositories are open."""
        return RunningVersion.of_this_process(
            None if self._repositories is None else self._repositories.deployment
        )

    def warm(self) -> None:
        """Do in advance what would otherwise delay the first visit.

        The worker starts even if the central repository or Kafka is unreachable:
        it may be back when the first visit comes.

        Raises
        ------
        SettingsError
            Raised if what a setting names is unusable.
        UniverseError, ApdbConfigurationError
            Raised if the version of the central repository or the APDB does
            not match this software. Waiting does not help.
        """
        if self.settings.central_iers_cache:
            try:
                import_iers_tables(self.settings.central_iers_cache)
            except IersTablesError as error:
                raise SettingsError({"CENTRAL_IERS_CACHE": str(error)}) from error
        # Kafka is slow to answer, and needs none of this process's time.
        with ThreadPoolExecutor(1, "notices") as beside:
            notices = beside.submit(in_this_context(self._try_notices))
            apdb = check_apdb_version(self.settings.config_apdb)
            if apdb is not None:
                self._apdb.keep(self.settings.config_apdb, apdb)
            for make_ready in (self.repositories, notices.result):
                try:
                    make_ready()
                except PromptError as error:
                    _log.error("Not everything is ready: %s", error.reason)
        _log.info("Running %s.", self.version())
        self.unsent_alerts.begin()
        # A million objects live as long as the process. Each full collection would otherwise pause a visit to
        # scan them, and write to the memory that workers share.
        gc.freeze()
        gc.enable()
        self._first_visit.begin()

    def _try_notices(self) -> None:
        self.notices.start()
        self.notices.stop()

    def start_afresh(self) -> None:
        """Replace the local repository, whatever its content, by a new one.

        Raises
        ------
        RetriableError
            Raised if that is not possible now; the next visit tries again.
        """
        self._close_repositories()
        self.repositories()

    def close(self) -> None:
        """Close all connections."""
        self._first_visit.end()
        self.unsent_alerts.end()
        self.notices.close()
        if self.sasquatch is not None:
            self.sasquatch.close()
        if self.publisher is not None:
            self.publisher.close()
        self._close_repositories()

    def _close_repositories(self) -> None:
        repositories, self._repositories = self._repositories, None
        if repositories is not None:
            repositories.close()


class Factory:
    """Make services from long-lived clients.

    Parameters
    ----------
    context : `ProcessContext`
        The clients.
    """

    def __init__(self, context: ProcessContext) -> None:
        self._context = context

    def process_visit(self, snaps: WaitForSnaps | None = None) -> ProcessVisit:
        """Make the service that processes visits.

        Parameters
        ----------
        snaps : `~prompt_processing.activator.services.wait_for_snaps.WaitForSnaps`, optional
            Finds the images; by default in the bucket, after notices.
        """
        context = self._context
        settings = context.settings
        return ProcessVisit(
            rules=VisitRules.from_settings(settings, context.camera),
            open_workspace=context.open_workspace,
            snaps=snaps or WaitForSnaps(context.waited_for, context.images, settings.image_timeout),
            in_apdb=context.in_apdb,
            interruption=Interruption(settings.worker_timeout, settings.worker_grace_period),
            metrics=context.metrics,
            log_context=context.log_context,
            sasquatch=context.sasquatch,
            publisher=context.publisher,
            start_afresh=context.start_afresh,
            store_alerts=context.unsent_alerts.store,
        )
