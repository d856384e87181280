"""Run the projector, which keeps the database of nights, as a process until it is asked to stop."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from prometheus_client import CollectorRegistry, Counter, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from prompt_processing.nights.projector import Projector, patient_positions
from prompt_processing.nights.reading import NightsUnavailableError
from prompt_processing.nights.sources import FolderSource, Positions, Source, TopicSource
from prompt_processing.nights.store import NightStore
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.exit_codes import ExitCode
from prompt_processing.settings.service_loop import asked_to_stop, report_unusable
from prompt_processing.telemetry.health import Health, Heartbeat
from prompt_processing.telemetry.logs import LogContext, configure_logging
from prompt_processing.telemetry.pages import Pages, PageServer

from .projector_settings import ProjectorSettings

__all__ = ["run_projector"]

_log = logging.getLogger("lsst.nights")

_LONGEST_TURN_S = 120.0
"""Seconds that reading and writing one batch may take."""


def run_projector(*, once: bool = False, **overrides: Any) -> int:
    """Run the projector with the environment's settings.

    Parameters
    ----------
    once
        Whether to end when nothing is left to read in a folder.
    **overrides
        Settings that do not come from the environment.

    Returns
    -------
    status
        0 after an orderly stop, 1 if the database or the topic is unusable, 3 for unusable settings.
    """
    try:
        settings = ProjectorSettings.load(**overrides)
    except SettingsError as error:
        return report_unusable(error)
    configure_logging(LogContext(), {"lsst.nights": "INFO"}, secrets=settings.secrets)
    try:
        store = NightStore(settings.nights_database.get_secret_value())
    except (NightsUnavailableError, ValueError) as error:
        return report_unusable(error, "")
    except SQLAlchemyError as error:
        # A supervisor starts the process again.
        _log.critical("The database of nights does not answer: %s", error)
        return ExitCode.FAILED
    try:
        return _run(settings, store, asked_to_stop(), once)
    finally:
        store.close()


def _run(settings: ProjectorSettings, store: NightStore, stop: threading.Event, once: bool) -> int:
    registry = CollectorRegistry()
    n_messages = Counter("prompt_outcomes_projected", "Messages that were projected.", registry=registry)
    n_malformed = Counter("prompt_outcomes_malformed", "Messages that were left out.", registry=registry)

    def count(messages: int, malformed: int) -> None:
        n_messages.inc(messages)
        n_malformed.inc(malformed)

    heartbeat = Heartbeat(_LONGEST_TURN_S)
    source = _source(settings, patient_positions(store, stop, heartbeat))
    projector = Projector(source, store, heartbeat, count)
    health = Health(
        live={"loop": heartbeat.beats},
        ready={"source": source.answers, "database": lambda: projector.database_answers},
    )
    server = PageServer(settings.metrics_port, Pages(health, lambda: generate_latest(registry)))
    server.start()
    try:
        totals = projector.run(stop, once=once)
    except KafkaException as error:
        _log.critical("Kafka: %s", error.args[0].str())
        return ExitCode.FAILED
    finally:
        server.stop()
        source.close()
    _log.info("Stopped after %d messages, %d left out.", totals.messages, totals.malformed)
    return ExitCode.DONE


def _source(settings: ProjectorSettings, positions: Positions) -> Source:
    if settings.outcome_topic:
        return TopicSource(settings.kafka, settings.outcome_topic, settings.outcome_consumer_group, positions)
    return FolderSource(Path(settings.outcome_dir), positions)
