"""The fan-out's story: read a visit, send it on for each detector, remember how far we are."""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Protocol

from confluent_kafka import TopicPartition

from ..domain.errors import MalformedMessageError
from ..domain.visit import NextVisit
from ..transport.schema_registry import SchemaRegistry, SchemaRegistryError
from .config import DetectorMap, FanOutSettings
from .destinations import Destination
from .messages import decode_next_visit
from .metrics import FanOutMetrics
from .offsets import Message, OffsetTracker, Position

__all__ = ["Consumer", "FanOutService"]

_log = logging.getLogger("lsst.fanout.service")

_POLL_S = 0.5
_REGISTRY_PAUSES_S = (0.5, 2.0, 5.0)


class Consumer(Protocol):
    """The part of ``confluent_kafka.Consumer`` that is used here."""

    def poll(self, timeout: float) -> Message | None:
        """Return the next message or error event."""
        ...

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> object:
        """Commit the given offsets."""
        ...

    def close(self) -> None:
        """Leave the group."""
        ...


class FanOutService:
    """Sends each visit of the topic on to all active detectors of its instrument.

    Several visits may be on their way at once: the answer for one comes when it has been processed, which is
    after the next has been announced. Offsets are committed in order, each when all answers of its visit
    are in, so that a crash sends again rather than loses.

    Parameters
    ----------
    settings, detectors
        The configuration.
    consumer
        Subscribed to the topic, with automatic commits off.
    destination
        Where visits go.
    registry
        To decode Avro with; None reads plain JSON.
    metrics
        What to count with.
    """

    def __init__(
        self,
        settings: FanOutSettings,
        detectors: DetectorMap,
        consumer: Consumer,
        destination: Destination,
        registry: SchemaRegistry | None,
        metrics: FanOutMetrics,
    ) -> None:
        self._settings = settings
        self._detectors = detectors
        self._consumer = consumer
        self._destination = destination
        self._registry = registry
        self._metrics = metrics
        self._offsets = OffsetTracker()
        self._underway: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop, then await the answers still on their way, and leave the group."""
        try:
            while not stop.is_set():
                message = await asyncio.to_thread(self._consumer.poll, _POLL_S)
                if message is not None:
                    await self._receive(message)
            await self._finish()
        finally:
            await asyncio.to_thread(self._consumer.close)
            await self._destination.close()

    async def _receive(self, message: Message) -> None:
        if (error := message.error()) is not None:
            _log.warning("Kafka: %s", error)
            return
        self._metrics.received.inc()
        position = self._offsets.begin(message)
        visit = await self._decode(message)
        detectors = self._detectors_to_send(visit) if visit is not None else []
        if visit is None or not detectors:
            self._commit(self._offsets.finish(position))
            return
        _log.info(
            "Group %s of %s: sending on to %d detectors", visit.groupId, visit.instrument, len(detectors)
        )
        task = asyncio.create_task(self._send_all(visit, detectors, position))
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)

    async def _decode(self, message: Message) -> NextVisit | None:
        where = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        for pause_s in (*_REGISTRY_PAUSES_S, None):
            try:
                return await asyncio.to_thread(decode_next_visit, message.value(), self._registry)
            except MalformedMessageError as error:
                _log.error("Undecodable message %s skipped: %s", where, error)
                break
            except SchemaRegistryError as error:
                if pause_s is None:
                    # By now the telescope is already there: waiting longer would only delay later visits.
                    _log.error("Message %s skipped: %s", where, error)
                    break
                await asyncio.sleep(pause_s)
        self._metrics.undecodable.inc()
        return None

    def _detectors_to_send(self, visit: NextVisit) -> list[int]:
        reason = None
        detectors: list[int] = []
        if not visit.instrument:
            reason = "no-instrument"
        elif visit.instrument not in self._settings.supported_instruments:
            reason = "unsupported-instrument"
        elif (age_s := visit.age(time.time())) > self._settings.message_expiration:
            _log.warning("Group %s is %.0f s old", visit.groupId, age_s)
            reason = "stale"
        else:
            detectors = self._detectors.active_detectors(visit)
            reason = None if detectors else "no-active-detectors"
        if reason is not None:
            self._metrics.skipped.labels(reason).inc()
            _log.info("Group %s of %s skipped: %s", visit.groupId, visit.instrument or "nothing", reason)
        return detectors

    async def _send_all(self, visit: NextVisit, detectors: Iterable[int], position: Position) -> None:
        answers = await asyncio.gather(
            *(self._destination.send(visit.for_detector(detector)) for detector in detectors),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                _log.error("Group %s: not sent to a detector", visit.groupId, exc_info=answer)
        self._commit(self._offsets.finish(position))

    def _commit(self, positions: list[Position]) -> None:
        if positions:
            self._consumer.commit(
                offsets=[TopicPartition(*position) for position in positions], asynchronous=True
            )

    async def _finish(self) -> None:
        # Whoever takes over the partitions must not send again what this process is about to see through.
        self._commit(self._offsets.finish_all())
        if not self._underway:
            return
        _log.info("Awaiting the answers for %d visits", len(self._underway))
        _, late = await asyncio.wait(self._underway, timeout=self._settings.shutdown_grace_s)
        for task in late:
            task.cancel()
        if late:
            _log.error("Stopped without the answers for %d visits", len(late))
            await asyncio.wait(late)
