"""Process one visit, from its announcement to its outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prompt_processing.activator.services.interruption import Interrupted, Interruption
from prompt_processing.activator.services.metric_bundles import bundles_of_visit, task_metrics
from prompt_processing.activator.services.visit_rules import VisitPipelines, VisitRules
from prompt_processing.activator.services.visit_workspace import PipelineRun, VisitWorkspace
from prompt_processing.activator.services.wait_for_snaps import WaitForSnaps
from prompt_processing.activator.storage.image_bucket import ArrivedImage
from prompt_processing.apdb.write import AlreadyInApdbError
from prompt_processing.butler.errors import is_passing
from prompt_processing.domain.errors import (
    IgnorableVisitError,
    InvalidVisitError,
    NonRetriableError,
    PromptError,
    RetriableError,
    StaleVisitError,
)
from prompt_processing.domain.outcome import STAGES, Outcome, Stage, StageTimes, Status
from prompt_processing.domain.visit import FannedOutVisit, NextVisit
from prompt_processing.nights.publishing import OutcomePublisher
from prompt_processing.telemetry.logs import LogContext, timer_logger
from prompt_processing.telemetry.metrics import Metrics
from prompt_processing.telemetry.sasquatch import Sasquatch

_log = logging.getLogger("lsst.activator.services.process_visit")
_outcome_log = logging.getLogger("lsst.activator.outcome")

_ALERTING_TASK = "associateApdb"


@dataclass
class _Progress:
    """Progress of a visit."""

    times: StageTimes
    workspace: VisitWorkspace | None = None
    preload_metrics: Mapping[str, float] = field(default_factory=dict)
    runs: Mapping[str, str] = field(default_factory=dict)
    pipeline_started: bool = False
    exposures: tuple[int, ...] = ()
    image_arrival: float | None = None
    result: PipelineRun | None = None
    exported: int | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    last_alert: float | None = None


class ProcessVisit:
    """Process visits, one after the other.

    Parameters
    ----------
    rules : `VisitRules`
        Rules for accepting visits.
    open_workspace : callable
        Makes the workspace of a visit, which runs the pipelines chosen by the rules.
    snaps : `~prompt_processing.activator.services.wait_for_snaps.WaitForSnaps`
        Finds the images.
    in_apdb : callable
        Returns whether the APDB holds any of these exposures of a detector, or
        `None` if that is unknown.
    interruption : `~prompt_processing.activator.services.interruption.Interruption`
        Interrupts a visit.
    metrics : `~prompt_processing.telemetry.metrics.Metrics`
        Metrics of the process.
    log_context : `~prompt_processing.telemetry.logs.LogContext`
        Adds the visit to log lines.
    sasquatch : `~prompt_processing.telemetry.sasquatch.Sasquatch`, optional
        Receives metric bundles.
    publisher : `~prompt_processing.nights.publishing.OutcomePublisher`, optional
        Publishes begin and end of each visit.
    start_afresh : callable, optional
        Replaces the local repository, when a visit's data cannot be removed
        from it.
    store_alerts : callable, optional
        Moves unsent alerts to a store that outlives the pod; called after each visit.
    now : callable, optional
        Returns Unix seconds, UTC.
    """

    def __init__(
        self,
        rules: VisitRules,
        open_workspace: Callable[[FannedOutVisit, VisitPipelines], VisitWorkspace],
        snaps: WaitForSnaps,
        in_apdb: Callable[[Sequence[int], int], bool | None],
        interruption: Interruption,
        metrics: Metrics,
        log_context: LogContext,
        sasquatch: Sasquatch | None = None,
        publisher: OutcomePublisher | None = None,
        start_afresh: Callable[[], None] = lambda: None,
        store_alerts: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._rules = rules
        self._open_workspace = open_workspace
        self._snaps = snaps
        self._in_apdb = in_apdb
        self._interruption = interruption
        self._metrics = metrics
        self._log_context = log_context
        self._sasquatch = sasquatch
        self._publisher = publisher
        self._start_afresh = start_afresh
        self._store_alerts = store_alerts
        self._now = now

    def process(self, visit: FannedOutVisit) -> Outcome:
        """Process a visit; turn every failure into an outcome.

        Parameters
        ----------
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit.

        Returns
        -------
        outcome : `~prompt_processing.domain.outcome.Outcome`
            Outcome of the visit, already logged and counted.
        """
        now = self._now()
        with self._log_context.visit(visit, now), self._metrics.processing():
            progress = _Progress(StageTimes())
            progress.times.add("queue", max(0.0, visit.age(now)))
            attempt = None if self._publisher is None else self._publisher.begin(visit)
            status_and_reason = self._watch(visit, progress)
            outcome = self._tell(visit, progress, *status_and_reason)
            self.record(outcome)
            if attempt is not None:
                attempt.end(outcome, _quality(progress))
            self._post_bundles(visit, outcome, progress)
            self._store_alerts()
        return outcome

    def record(self, outcome: Outcome, visit: FannedOutVisit | None = None) -> None:
        """Log and count an outcome.

        Parameters
        ----------
        outcome : `~prompt_processing.domain.outcome.Outcome`
            The outcome.
        visit : `~prompt_processing.domain.visit.FannedOutVisit`, optional
            The visit, if it is not being processed now.
        """
        if visit is not None:
            with self._log_context.visit(visit, self._now()):
                self.record(outcome)
                if self._publisher is not None:
                    self._publisher.end(visit, outcome)
            return
        as_dict = outcome.as_dict()
        _outcome_log.info("%s: %s", outcome.status.label, outcome.reason, extra={"outcome": as_dict})
        for stage in STAGES:
            if stage in outcome.stages:
                timer_logger(stage).debug("%s took %.3f s", stage, outcome.stages[stage])
        self._metrics.visit_ended(outcome.status.label, outcome.stages, outcome.arrival_to_alert)

    def _post_bundles(self, visit: FannedOutVisit, outcome: Outcome, progress: _Progress) -> None:
        if self._sasquatch is not None:
            metadata = {} if progress.result is None else progress.result.metadata
            bundles = bundles_of_visit(visit, outcome, progress.preload_metrics, metadata, progress.runs)
            self._sasquatch.submit([*bundles])

    def _watch(self, visit: FannedOutVisit, progress: _Progress) -> tuple[Status, str, Any]:
        try:
            with self._interruption.watch():
                return self._attempt(visit, progress)
        except Interrupted as interrupted:
            # It came while another end was being handled. A visit is interrupted once at most.
            end = self._judge(interrupted, visit, progress)
            self._clean(progress)
            return end

    def _attempt(self, visit: FannedOutVisit, progress: _Progress) -> tuple[Status, str, Any]:
        try:
            return Status.PROCESSED, self._story(visit, progress), None
        except (Exception, Interrupted) as error:  # noqa: BLE001
            # The last place where a failure can become an outcome for the sender.
            with self._interruption.held():
                end = self._judge(error, visit, progress)
            if end[0] is Status.FAILED and not _is_anothers(error) and not isinstance(error, Interrupted):
                self._export_rest(progress)
            return end
        finally:
            with self._interruption.held():
                self._clean(progress)

    def _story(self, visit: FannedOutVisit, progress: _Progress) -> str:
        self._rules.require_acceptable(visit, self._now())
        pipelines = self._rules.pipelines(visit)
        if not pipelines.preprocessing and not pipelines.main:
            raise IgnorableVisitError("The configuration runs nothing for this visit.")
        if pipelines.main:
            # Before anything that takes time: notices sent earlier are lost.
            self._snaps.subscribe()
        with progress.times.measure("preload"):
            progress.workspace = workspace = self._open_workspace(visit, pipelines)
            progress.preload_metrics = workspace.preload() or {}
            self._interruption.check()
            if pipelines.preprocessing:
                self._preprocess(workspace, pipelines)
            progress.runs = workspace.runs
        self._interruption.check()
        if not pipelines.main:
            return "Preprocessing done; the configuration runs nothing on the images."
        with progress.times.measure("wait"):
            images = self._snaps.collect(visit)
        self._interruption.check()
        if not images:
            # The telescope skipped them, or they are far too late. A retry would wait as long again and keep
            # a worker from the next visit.
            raise NonRetriableError(f"No image arrived within {_wait(progress):.0f} s.", "useless")
        progress.image_arrival = _last_arrival(images)
        with progress.times.measure("ingest"):
            progress.exposures = workspace.ingest([image.uri for image in images])
        self._log_context.exposures(progress.exposures)
        self._interruption.check()
        if not progress.exposures:
            raise NonRetriableError(f"None of {len(images)} image(s) is usable.", "useless")
        self._require_unwritten(visit, progress)
        with progress.times.measure("pipeline"):
            progress.pipeline_started = True
            progress.result = workspace.run_pipeline()
        self._read_counts(progress)
        self._interruption.check()
        with self._interruption.finishing(), progress.times.measure("export"):
            progress.exported = workspace.export()
        return _summary(visit, progress)

    def _preprocess(self, workspace: VisitWorkspace, pipelines: VisitPipelines) -> None:
        try:
            workspace.run_preprocessing()
        except Exception as error:
            if not pipelines.main:
                raise
            # A main pipeline may run without its outputs.
            _log.error(
                "Preprocessing failed; trying the main pipelines without it: %s",
                error.reason if isinstance(error, PromptError) else f"{type(error).__name__}: {error}",
                exc_info=None if isinstance(error, PromptError) else error,
            )

    def _export_rest(self, progress: _Progress) -> None:
        """Hand over the outputs of a pipeline that failed for good: they show the cause."""
        if progress.workspace is None or not progress.pipeline_started or progress.result is not None:
            return
        try:
            with self._interruption.finishing(), progress.times.measure("export"):
                progress.exported = progress.workspace.export()
        except (Exception, Interrupted):  # noqa: BLE001
            # The first failure decides the outcome.
            _log.exception("Cannot hand over the outputs of the failed pipeline.")

    def _require_unwritten(self, visit: FannedOutVisit, progress: _Progress) -> None:
        written = self._in_apdb(progress.exposures, visit.detector)
        if written is None:
            raise RetriableError("Cannot determine whether the APDB already holds this visit.")
        if written:
            raise NonRetriableError("The APDB holds this visit already; it is never written twice.", "unsafe")

    def _judge(
        self, error: BaseException, visit: FannedOutVisit, progress: _Progress
    ) -> tuple[Status, str, Any]:
        match error:
            case StaleVisitError():
                return Status.STALE, error.reason, None
            case InvalidVisitError():
                return Status.INVALID, error.reason, None
            case IgnorableVisitError():
                return Status.SKIPPED, error.reason, None
        stage = progress.times.current
        if isinstance(error, PromptError | Interrupted):
            _log.warning("Ended in stage %s: %s", stage, error.reason)
            reason = error.reason
        else:
            _log.error("Failed in stage %s.", stage, exc_info=error)
            reason = f"{type(error).__name__}: {error}"
        if progress.pipeline_started and self._in_apdb(progress.exposures, visit.detector) is not False:
            if not (isinstance(error, NonRetriableError) and error.retry == "unsafe"):
                reason = f"{reason} The APDB was changed, or may have been."
            return Status.FAILED, reason, "unsafe"
        if isinstance(error, RetriableError | Interrupted) or (
            # For example a full disk, for which no other layer has a type.
            isinstance(error, Exception) and is_passing(error)
        ):
            return Status.RETRIABLE, reason, None
        return Status.FAILED, reason, error.retry if isinstance(error, NonRetriableError) else "useless"

    def _clean(self, progress: _Progress) -> None:
        try:
            self._snaps.unsubscribe()
            if progress.workspace is not None:
                progress.workspace.clean()
                progress.workspace = None
        except Exception:  # noqa: BLE001
            # The outcome stands. Leftovers would spoil the next visit, or the next attempt at this one.
            _log.exception("Cleaning failed; the local repository is replaced.")
            self._replace_repository()

    def _replace_repository(self) -> None:
        try:
            self._start_afresh()
        except Exception:  # noqa: BLE001
            # The next visit tries again.
            _log.exception("No local repository is available for now.")

    def _read_counts(self, progress: _Progress) -> None:
        if progress.result is None:
            return
        scalars = task_metrics(progress.result.metadata, _ALERTING_TASK)
        progress.counts = {
            name: value for name, value in scalars.items() if name.startswith("num") or name == "apdbWritten"
        }
        if scalars.get("alertsLastAckUnix"):
            progress.last_alert = float(scalars["alertsLastAckUnix"])
        if (seconds := scalars.get("alertsSeconds")) is not None:
            progress.times.add("alerts", float(seconds))
            progress.times.add("pipeline", -float(seconds))

    def _tell(
        self, visit: NextVisit, progress: _Progress, status: Status, reason: str, retry: Any
    ) -> Outcome:
        result = progress.result
        return Outcome(
            status=status,
            reason=reason,
            retry=retry,
            stages=progress.times.as_dict(),
            pipeline=None if result is None else result.pipeline,
            tasks={} if result is None else dict(result.seconds),
            counts=progress.counts,
            exposures=progress.exposures,
            snaps_expected=visit.nimages,
            exported=progress.exported,
            image_arrival=progress.image_arrival,
            last_alert=progress.last_alert,
        )


def _is_anothers(error: BaseException | None) -> bool:
    """Return whether another worker has processed the visit; its outputs are the valid ones."""
    while error is not None:
        if isinstance(error, AlreadyInApdbError):
            return True
        error = error.__cause__
    return False


def _quality(progress: _Progress) -> dict[str, float]:
    """Return the numbers of all tasks, as ``task.metric``."""
    metadata = {} if progress.result is None else progress.result.metadata
    return {
        f"{label}.{name}": value
        for label in metadata
        for name, value in task_metrics(metadata, label).items()
    }


def _last_arrival(images: Sequence[ArrivedImage]) -> float | None:
    return max((image.arrival for image in images if image.arrival is not None), default=None)


def _wait(progress: _Progress) -> float:
    wait: Stage = "wait"
    return progress.times.as_dict().get(wait, 0.0)


def _summary(visit: FannedOutVisit, progress: _Progress) -> str:
    pipeline = progress.result.pipeline if progress.result else "no pipeline"
    snaps = f"{len(progress.exposures)} of {visit.nimages or 'any number of'} snap(s)"
    return f"{pipeline} ran on {snaps}, {progress.exported} dataset(s) handed over."
