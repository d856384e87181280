"""Run the fan-out as a process until it is asked to stop."""

import asyncio
import logging

from confluent_kafka import Consumer, KafkaException, TopicPartition
from prometheus_client import generate_latest

from prompt_processing.fanout.config import ConfigurationError, DetectorMap, FanOutSettings
from prompt_processing.fanout.destinations import (
    Destination,
    KnativeServices,
    RedisConnections,
    RedisStreams,
)
from prompt_processing.fanout.metrics import FanOutMetrics
from prompt_processing.fanout.service import FanOutService
from prompt_processing.nights.publishing import make_publisher
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.exit_codes import ExitCode
from prompt_processing.settings.service_loop import asked_to_stop_async
from prompt_processing.telemetry.health import Health, Heartbeat
from prompt_processing.telemetry.logs import LogContext, configure_logging
from prompt_processing.telemetry.pages import Pages, PageServer
from prompt_processing.transport.kafka import ClusterCheck, make_consumer

__all__ = ["run_fan_out"]

_log = logging.getLogger("lsst.fanout")

_KAFKA_TIMEOUT_S = 20.0

_LONGEST_TURN_S = 180.0
"""Decoding a message takes less than a minute, even if the registry answers none of four requests."""


def run_fan_out() -> int:
    """Run the fan-out with the environment's settings; return the exit status."""
    configure_logging(LogContext())
    try:
        settings = FanOutSettings.load()
        detectors = DetectorMap.load(settings.instrument_config_file)
        detectors.check(settings)
    except (SettingsError, ConfigurationError) as error:
        _log.critical("%s", error)
        return ExitCode.UNUSABLE_SETTINGS
    if settings.debug_logs:
        configure_logging(LogContext(), {_log.name: "DEBUG"}, secrets=settings.secrets)
    try:
        asyncio.run(_run(settings, detectors))
    except KafkaException as error:
        # The cluster or the supervisor starts the process again.
        _log.critical("Kafka: %s", error.args[0].str())
        return ExitCode.FAILED
    return ExitCode.DONE


async def _run(settings: FanOutSettings, detectors: DetectorMap) -> None:
    metrics = FanOutMetrics()
    registry = settings.schema_registry
    stop = asked_to_stop_async()
    consumer = _consumer(settings)
    heartbeat = Heartbeat(_LONGEST_TURN_S)
    health = Health(
        live={"loop": heartbeat.beats},
        ready={"kafka": ClusterCheck(consumer, settings.next_visit_topic)},
    )
    server = PageServer(settings.metrics_port, Pages(health, lambda: generate_latest(metrics.registry)))
    server.start()
    standing = await asyncio.to_thread(_standing_queue, consumer, settings)
    consumer.subscribe([settings.next_visit_topic])
    publisher = make_publisher(
        settings.kafka, settings.outcome_topic, settings.outcome_dir, secrets=settings.secrets
    )
    service = FanOutService(
        settings,
        detectors,
        consumer,
        _destination(settings, detectors, metrics),
        registry,
        metrics,
        standing,
        heartbeat,
        **({} if publisher is None else {"announce": publisher.announced}),
    )
    _log.info(
        "Ready for %s on %s", ", ".join(sorted(settings.supported_instruments)), settings.next_visit_topic
    )
    try:
        await service.run(stop)
    finally:
        server.stop()
        if publisher is not None:
            await asyncio.to_thread(publisher.close)
    _log.info("Stopped")


def _consumer(settings: FanOutSettings) -> Consumer:
    return make_consumer(
        settings.kafka,
        settings.consumer_group,
        enable_auto_commit=False,
        auto_offset_reset=settings.offset,
        # Visits are announced 20 s ahead, but by default a new topic is noticed only after up to 5 min.
        topic_metadata_refresh_interval_ms=10_000,
    )


def _standing_queue(consumer: Consumer, settings: FanOutSettings) -> dict[int, int]:
    """Return the end of each partition if earlier visits must not be sent, else nothing."""
    if settings.standing_queue == "keep":
        return {}
    topic = settings.next_visit_topic
    partitions = consumer.list_topics(topic, timeout=_KAFKA_TIMEOUT_S).topics[topic].partitions
    ends = {
        partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_KAFKA_TIMEOUT_S)[
            1
        ]
        for partition in partitions
    }
    _log.info("Visits of %s before the offsets %s are not sent", topic, ends)
    return ends


def _destination(settings: FanOutSettings, detectors: DetectorMap, metrics: FanOutMetrics) -> Destination:
    if settings.platform == "keda":
        return RedisStreams(
            detectors.redis_streams,
            settings.redis_host,
            settings.message_expiration,
            metrics,
            RedisConnections(
                retries=settings.redis_retry_count,
                initial_delay_s=settings.redis_retry_initial_delay,
                delay_cap_s=settings.redis_retry_delay_cap,
                health_check_interval_s=settings.redis_health_check_interval,
            ),
        )
    return KnativeServices(
        detectors.knative_urls,
        source=settings.next_visit_topic,
        max_in_flight=settings.max_fan_out_messages,
        retry=settings.retry_knative_requests,
        expiration_s=settings.message_expiration,
        metrics=metrics,
    )
