"""Report unusable settings, and detect a request to stop."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading

from .exit_codes import ExitCode

__all__ = ["asked_to_stop", "asked_to_stop_async", "report_unusable"]

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def asked_to_stop(*further: signal.Signals) -> threading.Event:
    """Return an event that is set once the process is asked to stop.

    Parameters
    ----------
    *further : `signal.Signals`
        Signals that request a stop, in addition to SIGTERM and SIGINT.
    """
    stop = threading.Event()
    for number in (*_STOP_SIGNALS, *further):
        signal.signal(number, lambda *_: stop.set())
    return stop


def asked_to_stop_async() -> asyncio.Event:
    """Return an event of the running loop that is set once the process is asked to stop."""
    stop = asyncio.Event()
    for number in _STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def report_unusable(error: Exception, what: str = "The settings are not usable:\n") -> ExitCode:
    """Write to standard error why the process cannot start, because its log may not be set up yet.

    Parameters
    ----------
    error : `Exception`
        The error.
    what : `str`, optional
        Text to write before it.
    """
    sys.stderr.write(f"{what}{error}\n")
    return ExitCode.UNUSABLE_SETTINGS
