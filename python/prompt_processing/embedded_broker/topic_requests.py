"""Requests about topics: Metadata, CreateTopics."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from .partitions import Partition
from .topics import TopicRefusedError, Topics
from .wire import ErrorCode, Reader, Writer

__all__ = ["LEADER_EPOCH", "NODE_ID", "Address", "TopicRequests"]

_log = logging.getLogger("prompt_processing.embedded_broker")

_CLUSTER_ID = "prompt-processing-embedded"
NODE_ID = 1
"""The only broker of the cluster."""
LEADER_EPOCH = 0
"""The leader of a partition never changes."""
_NO_OPERATIONS = -(2**31)
"""The protocol's value for authorised operations that were not requested."""


@dataclass(frozen=True, slots=True)
class Address:
    """Address of the broker."""

    host: str
    port: int


class TopicRequests:
    """Handler of requests about topics.

    Parameters
    ----------
    address
        Address of the broker for clients.
    topics
        State of the broker.
    """

    def __init__(self, address: Address, topics: Topics) -> None:
        self._address = address
        self._topics = topics

    async def metadata(self, request: Reader, version: int, answer: Writer) -> None:
        """Answer with the brokers and topics."""
        names = request.nullable_array(request.string)
        may_create = request.boolean() if version >= 4 else True
        if version >= 3:
            answer.int32(0)
        answer.array([self._address], lambda address: self._write_broker(address, version, answer))
        if version >= 2:
            answer.string(_CLUSTER_ID)
        if version >= 1:
            answer.int32(NODE_ID)
        if names is None or (version == 0 and not names):
            names, may_create = self._topics.names(), False
        answer.array(names, lambda name: self._write_topic(name, may_create, version, answer))
        if version >= 8:
            answer.int32(_NO_OPERATIONS)

    async def create_topics(self, request: Reader, version: int, answer: Writer) -> None:
        """Create topics."""

        def read_topic() -> tuple[str, int, int]:
            topic = request.string(), request.int32(), request.int16()
            assignments = request.array(lambda: (request.int32(), request.array(request.int32)))
            request.array(lambda: (request.string(), request.nullable_string()))
            return topic[0], len(assignments) or topic[1], topic[2]

        topics = request.array(read_topic)
        request.int32()
        only_check = request.boolean() if version >= 1 else False
        if version >= 2:
            answer.int32(0)

        def write(topic: tuple[str, int, int]) -> None:
            error, message = self._create_topic(*topic, only_check)
            answer.string(topic[0])
            answer.int16(error)
            if version >= 1:
                answer.string(message)

        answer.array(topics, write)

    def _write_broker(self, address: Address, version: int, answer: Writer) -> None:
        answer.int32(NODE_ID)
        answer.string(address.host)
        answer.int32(address.port)
        if version >= 1:
            answer.string(None)

    def _write_topic(self, name: str, may_create: bool, version: int, answer: Writer) -> None:
        partitions = self._topics.partitions(name)
        error = ErrorCode.NONE if partitions is not None else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if partitions is None and may_create:
            error, _ = self._create_topic(name, -1, 1, only_check=False)
            partitions = self._topics.partitions(name)
        answer.int16(error)
        answer.string(name)
        if version >= 1:
            answer.boolean(False)

        def write(partition: Partition) -> None:
            answer.int16(ErrorCode.NONE)
            answer.int32(partition.number)
            answer.int32(NODE_ID)
            if version >= 7:
                answer.int32(LEADER_EPOCH)
            answer.array([NODE_ID], answer.int32)
            answer.array([NODE_ID], answer.int32)
            if version >= 5:
                answer.array([], answer.int32)

        answer.array(partitions or [], write)
        if version >= 8:
            answer.int32(_NO_OPERATIONS)

    def _create_topic(
        self, name: str, n_partitions: int, n_replicas: int, only_check: bool
    ) -> tuple[ErrorCode, str | None]:
        if n_replicas not in (-1, 1):
            return ErrorCode.INVALID_REPLICATION_FACTOR, "the cluster has only one broker"
        try:
            if only_check:
                self._topics.check_new(name, n_partitions)
            else:
                self._topics.create(name, n_partitions)
        except TopicRefusedError as error:
            return error.code, str(error)
        except OSError as error:
            _log.warning("Cannot make the files of topic %s: %s", name, error)
            return ErrorCode.KAFKA_STORAGE_ERROR, str(error)
        return ErrorCode.NONE, None
