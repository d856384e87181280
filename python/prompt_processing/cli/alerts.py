"""Command ``prompt-resend-alerts``: send the alerts that a broker did not take when they were made."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lsst.dax.apdb import Apdb

from prompt_processing.alerts.resending import resend_kept_alerts, resend_stored_alerts
from prompt_processing.alerts.sender import AlertStreamSettings
from prompt_processing.apdb.preloaded_catalogs import apdb_uri, open_apdb

_LOG = logging.getLogger("lsst.prompt_processing.alerts")


def main(arguments: Sequence[str] | None = None) -> int:
    """Send kept alerts, by ``AP_KAFKA_*``, ``ALERT_KEEP_*``, ``LOCAL_REPOS`` and ``CONFIG_APDB``.

    Parameters
    ----------
    arguments : sequence of `str`, optional
        Of the command line, without the program's name.

    Returns
    -------
    status : `int`
        0 if nothing is left, 1 if something is, 2 if there is no broker.
    """
    parser = argparse.ArgumentParser(
        prog="prompt-resend-alerts",
        description="Send alerts that were kept because the broker did not take them; what it acknowledges "
        "is removed. Of what a killed worker left, the APDB (CONFIG_APDB) tells whether it is to be sent. "
        "Consumers may see an alert twice, with the same diaSourceId.",
    )
    parser.add_argument("directory", nargs="?", type=Path, help="by default where the environment says")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for the alerts of one visit")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    settings = AlertStreamSettings.from_environment(os.environ, options.timeout)
    if options.directory is not None:
        settings = dataclasses.replace(settings, keep_directory=options.directory)
    try:
        reports = {str(settings.keep_directory): resend_kept_alerts(settings, _apdb)}
        if settings.keep_store is not None and options.directory is None:
            reports[settings.keep_store] = resend_stored_alerts(settings, _apdb)
    except ValueError as exc:
        _LOG.error("%s", exc)
        return 2
    for where, report in reports.items():
        _LOG.info("%d alerts sent, %d remain in %s.", report.sent, report.kept, where)
    return 1 if any(report.kept or report.lost for report in reports.values()) else 0


@cache
def _apdb() -> Apdb:
    return open_apdb(apdb_uri("", os.environ))
