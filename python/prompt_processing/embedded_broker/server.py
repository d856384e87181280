"""Connections: requests arrive in frames and are answered in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from .group_requests import GroupRequests
from .groups import Groups
from .message_requests import MessageRequests
from .topic_requests import Address, TopicRequests
from .topics import Topics
from .transaction_requests import TransactionRequests
from .transactions import Transactions
from .wire import ErrorCode, Reader, WireError, Writer

__all__ = ["MIN_PARTITION_BYTES", "EmbeddedBroker"]

_log = logging.getLogger("prompt_processing.embedded_broker")

_HOST = "127.0.0.1"
_MAX_REQUEST_BYTES = 32 * 2**20
"""Longer requests are not Kafka's; the first bytes of an HTTP request read as a length of 1 GB."""
_READ_AHEAD_BYTES = 2**20
MIN_PARTITION_BYTES = 2**20
"""The smallest useful limit of a partition."""


class _ApiKey(IntEnum):
    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


_Handler = Callable[[Reader, int, Writer], Awaitable[bool | None]]


@dataclass(frozen=True, slots=True)
class _Api:
    """A kind of request: its versions, which of them are flexible, and its handler (None: the connection)."""

    first: int
    last: int
    handler: _Handler | None
    flexible_from: int = 1000


class EmbeddedBroker:
    """A broker on a port of the loopback interface; a context manager that closes it.

    Parameters
    ----------
    folder
        Folder for the messages; must not contain topics of an earlier broker.
    partition_bytes
        Limit of each partition in bytes.
    default_partitions
        Partitions of topics that are created by first use.
    """

    def __init__(self, folder: Path, partition_bytes: int = 2**30, default_partitions: int = 1) -> None:
        if partition_bytes < MIN_PARTITION_BYTES:
            raise ValueError(f"a partition has to keep {MIN_PARTITION_BYTES} bytes or more")
        self._groups = Groups()
        self._topics = Topics(folder, partition_bytes, self._groups.read_floor, default_partitions)
        self._transactions = Transactions(self._groups)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._apis: dict[int, _Api] = {}

    async def start(self, port: int = 0) -> str:
        """Listen and return the address for clients, ``host:port``; port 0 is a free one.

        Raises
        ------
        OSError
            Raised if the port is not free.
        """
        self._server = await asyncio.start_server(self._serve, _HOST, port, limit=_READ_AHEAD_BYTES)
        address = Address(_HOST, int(self._server.sockets[0].getsockname()[1]))
        self._apis = _make_apis(
            TopicRequests(address, self._topics),
            MessageRequests(self._topics, self._transactions),
            GroupRequests(address, self._topics, self._groups, self._transactions),
            TransactionRequests(self._topics, self._transactions),
        )
        return f"{address.host}:{address.port}"

    def create_topic(self, name: str, n_partitions: int = -1) -> None:
        """Create a topic; see `~.topics.Topics.create`."""
        self._topics.create(name, n_partitions)

    async def close(self) -> None:
        """Close all connections and files."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._groups.close()
        self._transactions.close()
        self._topics.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None, "a connection is a task"
        self._connections.add(connection)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            # Clients may disconnect at any time.
            pass
        except asyncio.CancelledError:
            # The broker stops, or the same client repeats its request on another connection.
            pass
        except WireError as error:
            _log.warning("Closing the connection from %s: %s", writer.get_extra_info("peername"), error)
        finally:
            self._connections.discard(connection)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (length,) = struct.unpack(">i", await reader.readexactly(4))
            if not 8 <= length <= _MAX_REQUEST_BYTES:
                raise WireError(f"a request of {length} bytes")
            parts = await self._answer(await reader.readexactly(length))
            if parts is not None:
                writer.write(struct.pack(">i", sum(map(len, parts))))
                writer.writelines(parts)
                await writer.drain()

    async def _answer(self, data: bytes) -> list[bytes] | None:
        key, version, correlation_id = struct.unpack_from(">hhi", data)
        api = self._apis.get(key)
        if api is None:
            raise WireError(f"requests of kind {key} are not supported")
        if api.handler is None:
            return self._tell_versions(version, correlation_id)
        if not api.first <= version <= api.last:
            raise WireError(f"version {version} of requests of kind {key} is not supported")
        flexible = version >= api.flexible_from
        # The client's name is never in the flexible format, but the tags after it are.
        request = Reader(data, start=8)
        request.client_id = request.nullable_string() or ""
        request.flexible = flexible
        request.tags()
        answer = Writer(flexible)
        answer.int32(correlation_id)
        answer.tags()
        wanted = await api.handler(request, version, answer)
        return None if wanted is False else answer.parts

    def _tell_versions(self, version: int, correlation_id: int) -> list[bytes]:
        known = self._apis[_ApiKey.API_VERSIONS]
        supported = known.first <= version <= known.last
        # An unsupported version is answered with an error in the oldest version.
        answer = Writer(flexible=supported and version >= known.flexible_from)
        answer.int32(correlation_id)
        answer.int16(ErrorCode.NONE if supported else ErrorCode.UNSUPPORTED_VERSION)

        def write(item: tuple[int, _Api]) -> None:
            answer.int16(item[0])
            answer.int16(item[1].first)
            answer.int16(item[1].last)
            answer.tags()

        answer.array(sorted(self._apis.items()), write)
        if supported and version >= 1:
            answer.int32(0)
        answer.tags()
        return answer.parts


def _make_apis(
    topics: TopicRequests, messages: MessageRequests, groups: GroupRequests, transactions: TransactionRequests
) -> dict[int, _Api]:
    """Return the supported requests, in versions common to librdkafka, the Java clients and aiokafka."""
    return {
        _ApiKey.PRODUCE: _Api(3, 8, messages.produce),
        _ApiKey.FETCH: _Api(4, 11, messages.fetch),
        _ApiKey.LIST_OFFSETS: _Api(1, 5, messages.list_offsets),
        _ApiKey.METADATA: _Api(0, 8, topics.metadata),
        _ApiKey.OFFSET_COMMIT: _Api(2, 7, groups.commit_offsets),
        _ApiKey.OFFSET_FETCH: _Api(1, 7, groups.fetch_offsets, flexible_from=6),
        _ApiKey.FIND_COORDINATOR: _Api(0, 2, groups.find_coordinator),
        _ApiKey.JOIN_GROUP: _Api(0, 5, groups.join),
        _ApiKey.HEARTBEAT: _Api(0, 3, groups.heartbeat),
        _ApiKey.LEAVE_GROUP: _Api(0, 2, groups.leave),
        _ApiKey.SYNC_GROUP: _Api(0, 3, groups.sync),
        _ApiKey.API_VERSIONS: _Api(0, 3, None, flexible_from=3),
        _ApiKey.CREATE_TOPICS: _Api(0, 4, topics.create_topics),
        _ApiKey.INIT_PRODUCER_ID: _Api(0, 4, transactions.initialise_producer, flexible_from=2),
        _ApiKey.ADD_PARTITIONS_TO_TXN: _Api(0, 2, transactions.add_partitions),
        _ApiKey.ADD_OFFSETS_TO_TXN: _Api(0, 2, transactions.add_offsets),
        _ApiKey.END_TXN: _Api(0, 2, transactions.end),
        _ApiKey.TXN_OFFSET_COMMIT: _Api(0, 3, groups.commit_offsets_in_transaction, flexible_from=3),
    }
