"""Run the writer as a process until it is asked to stop."""

from __future__ import annotations

import gc
import logging
import threading

from confluent_kafka import KafkaException
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath
from prometheus_client import generate_latest

from prompt_processing.butler.types import use_butler_types
from prompt_processing.butler_writer.central import CentralButler
from prompt_processing.butler_writer.config import WriterSettings
from prompt_processing.butler_writer.metrics import WriterMetrics
from prompt_processing.butler_writer.service import WriterService
from prompt_processing.butler_writer.topics import MAX_POLL_INTERVAL_MS, WriterTopics
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.exit_codes import ExitCode
from prompt_processing.settings.service_loop import asked_to_stop, report_unusable
from prompt_processing.telemetry.health import Health, Heartbeat
from prompt_processing.telemetry.logs import LogContext, configure_logging
from prompt_processing.telemetry.pages import Pages, PageServer
from prompt_processing.transport.kafka import LOGGER

__all__ = ["run_writer"]

_log = logging.getLogger("lsst.butler_writer")


def run_writer() -> int:
    """Run the writer with the environment's settings.

    Returns
    -------
    status
        0 after an orderly stop, 1 if only a new process can continue, 3 for unusable settings.
    """
    try:
        settings = WriterSettings.load()
    except SettingsError as error:
        return report_unusable(error)
    levels = {"lsst.butler_writer": settings.writer_debug_level}
    if settings.kafka_debug:
        levels[LOGGER] = "DEBUG"
    configure_logging(LogContext(), levels, secrets=settings.secrets)
    return _run(settings, asked_to_stop())


def _run(settings: WriterSettings, stop: threading.Event) -> int:
    use_butler_types()
    metrics = WriterMetrics()
    butler = Butler.from_config(settings.butler_repository, writeable=True)
    topics = WriterTopics(
        settings.kafka,
        settings.kafka_topic,
        settings.kafka_output_topic,
        settings.kafka_transactional_id,
        debug=settings.kafka_debug,
    )
    lists = ResourcePath(settings.output_dataset_list_directory, forceDirectory=True)
    # After this time the group assigns the batch to another writer.
    heartbeat = Heartbeat(MAX_POLL_INTERVAL_MS / 1000)
    service = WriterService(
        topics,
        CentralButler(butler, settings.writer_retry_delay, settings.output_run_regexp),
        lists,
        metrics,
        settings.writer_retry_delay,
        heartbeat,
    )
    health = Health(
        live={"loop": heartbeat.beats},
        ready={"kafka": topics.reachable, "repository": lambda: service.repository_answers},
    )
    server = PageServer(settings.metrics_port, Pages(health, lambda: generate_latest(metrics.registry)))
    server.start()
    try:
        topics.open()
        if not lists.exists():
            lists.mkdir()
        # Objects made until now are permanent; scanning them in each collection takes a tenth of the time.
        gc.freeze()
        _log.info("Ready for messages of %s.", settings.kafka_topic)
        service.run(stop)
    except KafkaException as error:
        _log.critical("Kafka: %s", topics.explain(error.args[0]))
        return ExitCode.FAILED
    finally:
        server.stop()
        topics.close()
        butler.close()
    _log.info("Stopped.")
    return ExitCode.DONE
