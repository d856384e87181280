"""Waiting for something to happen to one of several objects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

__all__ = ["Signal", "wait_for_any"]


class Signal:
    """Wakes all that wait for it."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def fire(self) -> None:
        """Wake all that wait now."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def subscribe(self, future: asyncio.Future[None]) -> None:
        """Let a future end with the next `fire`."""
        self._waiting.add(future)

    def unsubscribe(self, future: asyncio.Future[None]) -> None:
        """Leave a future alone."""
        self._waiting.discard(future)


async def wait_for_any(signals: Iterable[Signal], seconds: float) -> None:
    """Wait until one of the signals is fired, or the time is over."""
    signals = list(signals)
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for signal in signals:
        signal.subscribe(future)
    try:
        await asyncio.wait([future], timeout=seconds)
    finally:
        future.cancel()
        for signal in signals:
            signal.unsubscribe(future)
