"""A worker that processes the visits of a Redis stream, as a job that KEDA starts."""

from __future__ import annotations

import logging
import signal
import time

from prompt_processing.activator.factory import Factory, ProcessContext
from prompt_processing.activator.services.serve_stream import ServeStream
from prompt_processing.activator.storage.visit_stream import VisitStream
from prompt_processing.apdb.failures import ApdbConfigurationError
from prompt_processing.butler.pipelines.files import PipelineError
from prompt_processing.butler.universe import UniverseError
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.exit_codes import ExitCode
from prompt_processing.settings.service_loop import asked_to_stop, report_unusable
from prompt_processing.settings.worker import Settings
from prompt_processing.telemetry.health import Health, Heartbeat
from prompt_processing.telemetry.pages import Pages, PageServer
from prompt_processing.transport.redis_streams import consumer_group

_log = logging.getLogger("lsst.activator.stream_worker")

_MARGIN = 60.0
"""Seconds that a visit has on top of its time limit before it counts as stuck."""


def load_settings() -> Settings:
    """Read the environment.

    Raises
    ------
    SettingsError
        Raised with all settings that are missing or malformed for a stream worker.
    """
    problems: dict[str, str] = {}
    settings = None
    try:
        settings = Settings.load()
    except SettingsError as error:
        problems |= error.problems
    if settings is not None and not settings.redis_stream_host:
        problems["REDIS_STREAM_HOST"] = "not set"
    if settings is None or problems:
        raise SettingsError(problems)
    return settings


def make_stream(settings: Settings) -> VisitStream:
    """Make the client of the stream that the settings name."""
    name = settings.rubin_instrument.lower()
    return VisitStream(
        settings.redis_stream_host or "",
        settings.redis_stream_name or f"instrument:{name}",
        settings.redis_stream_consumer_group or consumer_group(name),
        settings.redis_stream_claim_idle,
    )


def run_stream_worker() -> int:
    """Run a worker with the environment's settings.

    Returns
    -------
    status : `int`
        0 after an orderly end; 3 for unusable settings.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        return report_unusable(error)
    context = ProcessContext(settings)
    context.start_logging()
    return serve(context)


def serve(context: ProcessContext) -> int:
    """Process visits until none arrives in time, or the process is asked to stop.

    Parameters
    ----------
    context : `~prompt_processing.activator.factory.ProcessContext`
        The long-lived clients; closed at the end.

    Returns
    -------
    status : `int`
        0; 3 if the version of the central repository or the APDB does not match this software, or a pipeline
        is unusable.
    """
    settings = context.settings
    stop = asked_to_stop(signal.SIGHUP)
    stream = make_stream(settings)
    stuck_after = settings.worker_timeout + _MARGIN
    # The service ends the process of a stuck visit. The heartbeat detects a loop that is stuck elsewhere.
    heartbeat = Heartbeat(stuck_after + settings.redis_retry_delay + _MARGIN)
    health = Health(
        live={"loop": heartbeat.beats},
        ready={"repositories": lambda: context.ready, "stream": lambda: stream.answers},
    )
    pages = Pages(health, context.metrics.render, context.version)
    server = PageServer(settings.metrics_port, pages)
    server.start()
    try:
        context.warm()
        service = ServeStream(
            stream,
            Factory(context).process_visit(),
            settings.fanned_out_msg_listen_timeout,
            settings.worker_restart_freq,
            settings.redis_retry_delay,
            stuck_after=stuck_after,
            heartbeat=heartbeat,
            naming=lambda visit: context.log_context.visit(visit, time.time()),
        )
        _log.info("Ready for visits of %s.", stream)
        n_visits = service.run(stop)
        _log.info("Ending after %d visit(s).", n_visits)
    except (ApdbConfigurationError, PipelineError, SettingsError, UniverseError) as error:
        _log.critical("%s", error)
        return ExitCode.UNUSABLE_SETTINGS
    finally:
        stream.close()
        context.close()
        server.stop()
    return ExitCode.DONE
