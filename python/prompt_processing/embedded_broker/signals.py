"""Signals, and a wait for the first of several."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

__all__ = ["Signal", "wait_for_any"]


class Signal:
    """A signal that wakes all waiting tasks."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def fire(self) -> None:
        """Wake all tasks that wait now."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def subscribe(self, future: asyncio.Future[None]) -> None:
        """Complete a future at the next `fire`."""
        self._waiting.add(future)

    def unsubscribe(self, future: asyncio.Future[None]) -> None:
        """Stop completing a future."""
        self._waiting.discard(future)


async def wait_for_any(signals: Iterable[Signal], seconds: float) -> None:
    """Wait until one of the signals is fired, or the time has passed."""
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
