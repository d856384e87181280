"""Liveness and readiness, reported in the same way by all processes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

__all__ = ["Check", "Health", "Heartbeat"]

_log = logging.getLogger("lsst.activator.telemetry.health")

Check = Callable[[], bool]
"""Returns whether something works; an exception counts as a failure."""


class Heartbeat:
    """Detect a loop that stalls.

    Parameters
    ----------
    limit : `float`
        Seconds that one turn may take.
    monotonic : callable, optional
        Returns the seconds of a monotonic clock.
    """

    def __init__(self, limit: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._last: float | None = monotonic()

    def beat(self) -> None:
        """Record a turn of the loop."""
        self._last = self._monotonic()

    def end(self) -> None:
        """Expect no further beats, because the loop has ended normally."""
        self._last = None

    def beats(self) -> bool:
        """Return whether the last turn is recent enough."""
        return self._last is None or self._monotonic() - self._last <= self._limit


class Health:
    """Liveness and readiness of a process.

    Parameters
    ----------
    live : mapping, optional
        Checks by name; if one fails, only a restart helps.
    ready : mapping, optional
        Checks by name; if one fails, the process should get no work.
    details : callable, optional
        Returns further content for the readiness page.
    """

    def __init__(
        self,
        live: Mapping[str, Check] | None = None,
        ready: Mapping[str, Check] | None = None,
        details: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        self._live = dict(live or {})
        self._ready = dict(ready or {})
        self._details = details

    def liveness(self) -> tuple[int, dict[str, object]]:
        """Return the HTTP status and the content of ``/health/live``."""
        failing = _failing(self._live)
        return 503 if failing else 200, {"live": not failing} | _named(failing)

    def readiness(self) -> tuple[int, dict[str, object]]:
        """Return the HTTP status and the content of ``/health`` and ``/health/ready``."""
        dead, unready = _failing(self._live), _failing(self._ready)
        failing = [*dead, *unready]
        content = {"live": not dead, "ready": not failing} | _named(failing) | dict(self._details())
        return 503 if failing else 200, content


def _failing(checks: Mapping[str, Check]) -> list[str]:
    return [name for name, check in checks.items() if not _passes(name, check)]


def _passes(name: str, check: Check) -> bool:
    try:
        return check()
    except Exception as error:  # noqa: BLE001
        # A check that raises counts as failed.
        _log.warning("The check %s failed: %s", name, error)
        return False


def _named(failing: list[str]) -> dict[str, object]:
    return {"failing": failing} if failing else {}
