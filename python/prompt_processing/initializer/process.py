"""Run the initializer, once before a night begins."""

from __future__ import annotations

import logging
import time

from lsst.daf.butler.registry import ConflictingDefinitionError

from prompt_processing.butler.errors import passing
from prompt_processing.butler.pipelines.files import PipelineError
from prompt_processing.domain.clock import night
from prompt_processing.domain.errors import RetriableError
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.exit_codes import ExitCode
from prompt_processing.telemetry.logs import LogContext, configure_logging

from .config import InitializerSettings
from .night import initialize_night

__all__ = ["run_initializer"]

_LOG = logging.getLogger("lsst.initializer")


def run_initializer(day: str | None = None) -> int:
    """Write a night's init-outputs with the environment's settings.

    Parameters
    ----------
    day
        Day of observation of the processing, ``YYYY-MM-DD``; today's by default.

    Returns
    -------
    status
        0; 1 if the repository does not answer or has other init-outputs, or a pipeline is unusable; 3 for
        unusable settings.
    """
    configure_logging(LogContext())
    try:
        settings = InitializerSettings.load()
        with passing(f"Initializing the central repository {settings.central_repo}"):
            initialize_night(settings, day or night(time.time()))
    except SettingsError as error:
        _LOG.critical("%s", error)
        return ExitCode.UNUSABLE_SETTINGS
    except (PipelineError, RetriableError) as error:
        _LOG.critical("%s", error)
        return ExitCode.FAILED
    except ConflictingDefinitionError as error:
        # Code and configuration determine the names of runs: one has changed without changing the name.
        _LOG.critical("The night has init-outputs of other pipelines: %s", error)
        return ExitCode.FAILED
    return ExitCode.DONE
