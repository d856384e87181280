"""Logs as one JSON object per line, with the visit that each line belongs to."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any, TextIO

from prompt_processing.domain.clock import day_obs
from prompt_processing.domain.visit import NextVisit
from prompt_processing.telemetry.credentials import CredentialMask

_DEFAULT_LEVELS = {".": "WARNING", "lsst": "INFO", "lsst.activator": "DEBUG", "prompt_processing": "DEBUG"}

_EXTRA_LEVELS = {"TRACE": 5, "VERBOSE": 15}
"""Levels that the Rubin middleware adds to Python's."""


_VISIT: ContextVar[Mapping[str, Any]] = ContextVar("visit", default=MappingProxyType({}))


class LogContext:
    """The visit that log lines belong to.

    A context variable holds the visit, so that a thread logs the visit it works for, even after the process
    has begun the next one. `~prompt_processing.telemetry.handover.in_this_context` passes it to threads.

    Parameters
    ----------
    instrument : `str`
        Instrument of the process.
    """

    def __init__(self, instrument: str = "") -> None:
        self.instrument = instrument

    @contextmanager
    def visit(self, visit: NextVisit, now_unix_utc: float) -> Iterator[None]:
        """Add a visit to all log lines of a block.

        Parameters
        ----------
        visit : `NextVisit`
            The visit.
        now_unix_utc : `float`
            Current time, which determines the night.
        """
        before = _VISIT.set(
            {
                "day_obs": day_obs(now_unix_utc),
                "group": visit.groupId,
                "survey": visit.survey,
                "detector": getattr(visit, "detector", None),
            }
        )
        try:
            yield
        finally:
            _VISIT.reset(before)

    def exposures(self, exposures: Iterable[int]) -> None:
        """Add the exposures to log lines until the end of the visit.

        Parameters
        ----------
        exposures : iterable of `int`
            Exposure ids.
        """
        _VISIT.set({**_VISIT.get(), "exposures": sorted(exposures)})

    def as_dict(self) -> dict[str, Any]:
        """Return the instrument and the known fields of the visit."""
        known = {name: value for name, value in _VISIT.get().items() if value is not None}
        return {"instrument": self.instrument, **known}


class JsonFormatter(logging.Formatter):
    """Format a record as one line of JSON, without credentials.

    Parameters
    ----------
    context : `LogContext`
        Context of the process.
    secrets : sequence of `str`, optional
        Strings to mask wherever they appear, also in messages and tracebacks of
        libraries. Secrets in the environment are masked as well.
    """

    def __init__(self, context: LogContext, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._context = context
        self._mask = CredentialMask(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record.

        Parameters
        ----------
        record : `logging.LogRecord`
            The record; ``extra={"outcome": ...}`` is included.

        Returns
        -------
        line : `str`
            JSON without a line break.
        """
        line: dict[str, Any] = {
            "asctime": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "name": record.name,
            "message": record.getMessage(),
            "pathname": record.pathname,
            "lineno": record.lineno,
            "funcName": record.funcName,
            "process": record.process,
            "thread": record.thread,
            **self._context.as_dict(),
        }
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack_info"] = record.stack_info
        outcome = getattr(record, "outcome", None)
        if outcome is not None:
            line["outcome"] = outcome
        return json.dumps(self._mask.value(line))


def configure_logging(
    context: LogContext,
    levels: Mapping[str, str] | None = None,
    *,
    secrets: Sequence[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Write all logs of the process to standard error as JSON.

    Parameters
    ----------
    context : `LogContext`
        Context of the process.
    levels : mapping, optional
        Level by logger, overriding the defaults; ``.`` is the root logger.
    secrets : sequence of `str`, optional
        Strings to mask.
    stream : file-like, optional
        Output stream; standard error by default.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(context, secrets))
    root = logging.getLogger()
    for previous in list(root.handlers):
        root.removeHandler(previous)
    root.addHandler(handler)
    for value, name in ((5, "TRACE"), (15, "VERBOSE")):
        logging.addLevelName(value, name)
    for name, level in {**_DEFAULT_LEVELS, **(levels or {})}.items():
        number = _EXTRA_LEVELS.get(level.upper(), level.upper())
        logging.getLogger("" if name == "." else name).setLevel(number)
    logging.captureWarnings(True)
    # Python's own hooks would write exceptions without masking credentials.
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("lsst.activator.uncaught").critical(
        "The process ends: %s", error, exc_info=(kind, error, traceback)
    )


def _log_uncaught_in_thread(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is None or issubclass(failure.exc_type, SystemExit):
        return
    logging.getLogger("lsst.activator.uncaught").error(
        "A thread ends: %s",
        failure.exc_value,
        exc_info=(failure.exc_type, failure.exc_value, failure.exc_traceback),
    )


def timer_logger(stage: str) -> logging.Logger:
    """Return the logger for the duration of a stage.

    Parameters
    ----------
    stage : `str`
        Name of the stage.

    Returns
    -------
    logger : `logging.Logger`
        ``timer.lsst.activator.<stage>``; write to it at DEBUG.
    """
    return logging.getLogger(f"timer.lsst.activator.{stage}")
