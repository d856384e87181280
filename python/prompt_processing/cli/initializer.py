"""The command that prepares a night; run once before it begins."""

from __future__ import annotations

import argparse
import logging
import re
import time
from collections.abc import Sequence

from lsst.daf.butler.registry import ConflictingDefinitionError

from prompt_processing.butler.errors import passing
from prompt_processing.domain.clock import night
from prompt_processing.domain.errors import RetriableError
from prompt_processing.initializer.config import InitializerSettings
from prompt_processing.initializer.night import initialize_night
from prompt_processing.settings.environment import SettingsError
from prompt_processing.telemetry.logs import LogContext, configure_logging

_LOG = logging.getLogger("lsst.initializer")

_EXIT_MISCONFIGURED = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a night's init-outputs; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="prompt-initializer",
        description="Make the output runs of a night in the central repository and write their init-outputs.",
        epilog="Settings are environment variables: "
        + ", ".join(name.upper() for name in InitializerSettings.model_fields),
    )
    parser.add_argument(
        "--night", type=_night, help="day of observation of the processing, YYYY-MM-DD (default: today's)"
    )
    options = parser.parse_args(arguments)
    configure_logging(LogContext())
    try:
        settings = InitializerSettings.load()
        with passing(f"Initializing the central repository {settings.central_repo}"):
            initialize_night(settings, options.night or night(time.time()))
    except SettingsError as error:
        _LOG.critical("%s", error)
        return _EXIT_MISCONFIGURED
    except RetriableError as error:
        _LOG.critical("%s", error)
        return 1
    except ConflictingDefinitionError as error:
        # Runs are named after code and configuration: one of these has changed, and its name has not.
        _LOG.critical("The night has init-outputs that are not these pipelines': %s", error)
        return 1
    return 0


def _night(text: str) -> str:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form YYYY-MM-DD")
    return text
