"""The writer as a process: it runs until it is asked to stop."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading

from confluent_kafka import KafkaException
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath
from prometheus_client import start_http_server

from prompt_processing.butler.types import use_butler_types
from prompt_processing.butler_writer.central import CentralButler
from prompt_processing.butler_writer.config import WriterSettings
from prompt_processing.butler_writer.metrics import WriterMetrics
from prompt_processing.butler_writer.service import WriterService
from prompt_processing.butler_writer.topics import WriterTopics
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.exit_codes import ExitCode
from prompt_processing.telemetry.logs import LogContext, configure_logging

__all__ = ["run_writer"]

_log = logging.getLogger("lsst.butler_writer")


def run_writer() -> int:
    """Run the writer with the environment's settings.

    Returns
    -------
    status
        0 after an orderly stop, 1 if only a new process can go on, 3 for unusable settings.
    """
    try:
        settings = WriterSettings.load()
    except SettingsError as error:
        sys.stderr.write(f"The settings are not usable:\n{error}\n")
        return ExitCode.UNUSABLE_SETTINGS
    levels = {"lsst.butler_writer": settings.writer_debug_level}
    configure_logging(LogContext(), levels, secrets=settings.secrets)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return _run(settings, stop)


def _run(settings: WriterSettings, stop: threading.Event) -> int:
    use_butler_types()
    metrics = WriterMetrics()
    if settings.metrics_port:
        start_http_server(settings.metrics_port, registry=metrics.registry)
    butler = Butler.from_config(settings.butler_repository, writeable=True)
    topics = WriterTopics(settings.kafka, settings.kafka_topic, settings.kafka_output_topic)
    try:
        topics.open()
        lists = ResourcePath(settings.output_dataset_list_directory, forceDirectory=True)
        if not lists.exists():
            lists.mkdir()
        service = WriterService(
            topics,
            CentralButler(butler, settings.writer_retry_delay),
            lists,
            metrics,
            settings.writer_retry_delay,
        )
        # What is here by now stays; collections that go through it again would take a tenth of the time.
        gc.freeze()
        _log.info("Ready for messages of %s.", settings.kafka_topic)
        service.run(stop)
    except KafkaException as error:
        _log.critical("Kafka: %s", error.args[0].str())
        return ExitCode.FAILED
    finally:
        topics.close()
        butler.close()
    _log.info("Stopped.")
    return ExitCode.DONE
