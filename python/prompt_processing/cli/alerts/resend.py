"""``prompt alerts resend``: send the alerts that no broker accepted when they were created."""

from __future__ import annotations

import dataclasses
import logging
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prompt_processing.cli.command import Command
from prompt_processing.cli.options import log_to_stderr

if TYPE_CHECKING:
    from lsst.dax.apdb import Apdb

_LOG = logging.getLogger("lsst.prompt_processing.alerts")


@click.command(
    cls=Command,
    settings="prompt_processing.settings.alerts:ResendSettings",
    examples="""
    prompt alerts resend                          # with a worker's settings
    prompt alerts resend /tmp/unsent-alerts --timeout 300
    """,
    statuses={
        1: "some alerts remain",
        2: "no broker is configured, or wrong arguments",
        3: "the settings are unusable",
    },
)
@click.argument(
    "directory",
    required=False,
    type=click.Path(path_type=Path),
    help="Folder of the alerts.  [default: ALERT_KEEP_DIR and ALERT_KEEP_STORE]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Time limit for the alerts of one visit, in seconds.",
)
def main(directory: Path | None, timeout: float) -> int:
    """Send alerts that were kept because the broker did not accept them.

    Alerts that the broker acknowledges are removed. Alerts of a killed worker are sent only if the APDB has
    their sources. A consumer may receive an alert twice, with the same diaSourceId.
    """
    from prompt_processing.alerts.resending import resend_kept_alerts, resend_stored_alerts
    from prompt_processing.settings.alerts import ResendSettings
    from prompt_processing.settings.environment import SettingsError
    from prompt_processing.settings.exit_codes import ExitCode
    from prompt_processing.transport.private_folder import UntrustedFolderError

    log_to_stderr(logging.INFO, "%(levelname)s %(message)s")
    try:
        environment = ResendSettings.load()
    except SettingsError as error:
        _LOG.error("The settings are unusable:\n%s", error)
        return ExitCode.UNUSABLE_SETTINGS
    settings = dataclasses.replace(environment.alert_stream, timeout_seconds=timeout)
    if directory is not None:
        settings = dataclasses.replace(settings, keep_directory=directory)
    try:
        apdb = cache(partial(_open_apdb, environment.config_apdb))
        reports = {str(settings.keep_directory): resend_kept_alerts(settings, apdb)}
        if settings.keep_store is not None and directory is None:
            reports[settings.keep_store] = resend_stored_alerts(settings, apdb)
    except ValueError as error:
        _LOG.error("%s", error)
        return ExitCode.NOTHING_TO_DO
    except UntrustedFolderError as error:
        _LOG.error("No alert is sent: %s", error)
        return ExitCode.FAILED
    for where, report in reports.items():
        _LOG.info("%d alerts sent, %d remain in %s.", report.sent, report.kept, where)
    left = any(report.kept or report.lost for report in reports.values())
    return ExitCode.FAILED if left else ExitCode.DONE


def _open_apdb(uri: str | None) -> Apdb:
    from prompt_processing.apdb.preloaded_catalogs import open_apdb
    from prompt_processing.domain.errors import NonRetriableError

    if not uri:
        raise NonRetriableError("No APDB is configured: CONFIG_APDB is not set.")
    return open_apdb(uri)
