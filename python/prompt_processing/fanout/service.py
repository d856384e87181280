"""The loop of the fan-out: read a visit, send it for each detector, commit its offset."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from confluent_kafka import TopicPartition

from ..domain.errors import MalformedMessageError
from ..domain.visit import NextVisit
from ..telemetry.health import Heartbeat
from ..transport.schema_registry import SchemaRegistry, SchemaRegistryError
from .config import DetectorMap, FanOutSettings
from .destinations import Destination
from .messages import decode_next_visit
from .metrics import FanOutMetrics
from .offsets import Message, OffsetTracker, Position

__all__ = ["Consumer", "FanOutService"]

_log = logging.getLogger("lsst.fanout.service")

_POLL_S = 0.5
_OUT_POLL_S = 0.05
_REGISTRY_PAUSES_S = (0.5, 2.0, 5.0)


class Consumer(Protocol):
    """The part of ``confluent_kafka.Consumer`` that is used here."""

    def poll(self, timeout: float) -> Message | None:
        """Return the next message or error event."""
        ...

    def assignment(self) -> list[TopicPartition]:
        """Return the partitions assigned to this process."""
        ...

    def pause(self, partitions: list[TopicPartition]) -> None:
        """Stop returning messages of these partitions."""
        ...

    def resume(self, partitions: list[TopicPartition]) -> None:
        """Return messages of these partitions again."""
        ...

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> object:
        """Commit the given offsets."""
        ...

    def close(self) -> None:
        """Leave the group."""
        ...


class _Sending:
    """A visit that is being sent.

    Parameters
    ----------
    position
        Position of the announcement.
    detectors
        Detectors whose messages have not been sent yet.
    """

    def __init__(self, position: Position, detectors: Iterable[int]) -> None:
        self.position = position
        self.begun = time.monotonic()
        self._left = set(detectors)

    @property
    def out(self) -> bool:
        """Whether all messages of the visit have left this process."""
        return not self._left

    def note_out(self, detector: int) -> bool:
        """Record that a detector's message has been sent; return whether it was the last one."""
        was_out = self.out
        self._left.discard(detector)
        return self.out and not was_out


class FanOutService:
    """Fan each visit of the topic out to all active detectors of its instrument.

    Several visits may be underway at once, because the answer for a visit comes after the next visit has been
    announced. Offsets are committed in order, each when all answers of its visit have arrived, so that after
    a crash visits are sent again and not lost. After a request to stop, visits that have been sent count as
    done, so that no other process sends them again while their answers are pending.

    Parameters
    ----------
    settings, detectors
        The configuration.
    consumer
        Consumer subscribed to the topic, with automatic commits disabled.
    destination
        Destination of visits.
    registry
        Schema registry for Avro; `None` for plain JSON.
    metrics
        Metrics of the fan-out.
    standing
        Offset of each partition before which visits are skipped; none by default.
    heartbeat
        Beats in each turn of the loop.
    announce
        Called with each visit that is sent, and its detectors; must return at once.
    """

    def __init__(
        self,
        settings: FanOutSettings,
        detectors: DetectorMap,
        consumer: Consumer,
        destination: Destination,
        registry: SchemaRegistry | None,
        metrics: FanOutMetrics,
        standing: Mapping[int, int] | None = None,
        heartbeat: Heartbeat | None = None,
        announce: Callable[[NextVisit, Sequence[int]], None] = lambda visit, detectors: None,
    ) -> None:
        self._settings = settings
        self._detectors = detectors
        self._consumer = consumer
        self._destination = destination
        self._registry = registry
        self._metrics = metrics
        self._offsets = OffsetTracker()
        self._standing = dict(standing or {})
        self._heartbeat = heartbeat or Heartbeat(float("inf"))
        self._announce = announce
        self._underway: dict[asyncio.Task[None], _Sending] = {}
        self._n_waiting = 0
        self._held_back = False
        self._stopping = False
        self._left_group = False

    async def run(self, stop: asyncio.Event) -> None:
        """Run until asked to stop, then wait for pending answers and leave the group."""
        try:
            while not stop.is_set():
                self._heartbeat.beat()
                self._hold_back()
                message = await asyncio.to_thread(self._consumer.poll, _POLL_S)
                if message is not None:
                    await self._receive(message)
            self._heartbeat.end()
            await self._finish()
        finally:
            await self._leave_group()
            await self._destination.close()

    def _hold_back(self) -> None:
        """Pause reading while the largest number of visit-detectors is waiting."""
        full = self._n_waiting >= self._settings.max_fan_out_messages
        if full != self._held_back:
            _log.info("Taking no further visits for now" if full else "Taking visits again")
        if full:
            # In each turn, because partitions may have been added. Polling continues: without it, the group
            # would drop this consumer after a few minutes, and another one would send its visits again.
            self._consumer.pause(self._consumer.assignment())
        elif self._held_back:
            self._consumer.resume(self._consumer.assignment())
        self._held_back = full

    async def _receive(self, message: Message) -> None:
        if (error := message.error()) is not None:
            _log.warning("Kafka: %s", error)
            return
        self._metrics.received.inc()
        position = self._offsets.begin(message)
        if position.offset < self._standing.get(position.partition, 0):
            self._metrics.skipped.labels("standing-queue").inc()
            self._commit(self._offsets.finish(position))
            return
        visit = await self._decode(message)
        detectors = self._detectors_to_send(visit) if visit is not None else []
        if visit is None or not detectors:
            self._commit(self._offsets.finish(position))
            return
        _log.info("Group %s of %s: sending to %d detectors", visit.groupId, visit.instrument, len(detectors))
        self._announce(visit, detectors)
        sending = _Sending(position, detectors)
        self._n_waiting += len(detectors)
        self._metrics.waiting.set(self._n_waiting)
        task = asyncio.create_task(self._send_all(visit, detectors, sending))
        self._underway[task] = sending
        task.add_done_callback(self._underway.pop)

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
                    # By now the exposure has begun: waiting longer would only delay later visits.
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

    async def _send_all(self, visit: NextVisit, detectors: Sequence[int], sending: _Sending) -> None:
        answers = await asyncio.gather(
            *(self._send_one(visit, detector, sending) for detector in detectors), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                _log.error("Group %s: not sent to a detector", visit.groupId, exc_info=answer)
        self._commit(self._offsets.finish(sending.position))

    async def _send_one(self, visit: NextVisit, detector: int, sending: _Sending) -> None:
        def on_out() -> None:
            if not sending.note_out(detector):
                return
            seconds = time.monotonic() - sending.begun
            self._metrics.seconds_until_out.labels(visit.instrument).observe(seconds)
            if self._stopping:
                self._commit(self._offsets.finish(sending.position))

        try:
            await self._destination.send(visit.for_detector(detector), on_out)
        finally:
            self._n_waiting -= 1
            self._metrics.waiting.set(self._n_waiting)

    def _commit(self, positions: list[Position]) -> None:
        if positions and not self._left_group:
            self._consumer.commit(
                offsets=[TopicPartition(*position) for position in positions], asynchronous=True
            )

    async def _finish(self) -> None:
        self._stopping = True
        deadline = time.monotonic() + self._settings.shutdown_grace_s
        # The next owner of the partitions must not send visits again that this process still waits for.
        for sending in self._underway.values():
            if sending.out:
                self._commit(self._offsets.finish(sending.position))
        if self._underway:
            _log.info("Awaiting the answers for %d visits", len(self._underway))
        while time.monotonic() < deadline and not all(sending.out for sending in self._underway.values()):
            await asyncio.sleep(_OUT_POLL_S)
        # The next owner gets the partitions at once and sends the visits that were not sent.
        await self._leave_group()
        if self._underway:
            await asyncio.wait([*self._underway], timeout=max(0.0, deadline - time.monotonic()))
        if late := list(self._underway):
            for task in late:
                task.cancel()
            _log.error("Stopped without the answers for %d visits", len(late))
            await asyncio.wait(late)

    async def _leave_group(self) -> None:
        if not self._left_group:
            self._left_group = True
            await asyncio.to_thread(self._consumer.close)
