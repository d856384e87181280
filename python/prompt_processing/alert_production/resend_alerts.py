"""Command ``prompt-resend-alerts``: send the alerts that a broker did not take when they were made."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .alert_sender import AlertStreamSettings, resend_kept_alerts

_LOG = logging.getLogger("lsst.prompt_processing.alerts")


def main(arguments: Sequence[str] | None = None) -> int:
    """Send kept alerts, by ``AP_KAFKA_*``, ``ALERT_KEEP_DIR`` and ``LOCAL_REPOS`` of the environment.

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
        "is removed. Consumers may see an alert twice, with the same diaSourceId.",
    )
    parser.add_argument("directory", nargs="?", type=Path, help="by default where the environment says")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for the alerts of one visit")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    settings = AlertStreamSettings.from_environment(os.environ, options.timeout)
    if options.directory is not None:
        settings = dataclasses.replace(settings, keep_directory=options.directory)
    try:
        report = resend_kept_alerts(settings)
    except ValueError as exc:
        _LOG.error("%s", exc)
        return 2
    _LOG.info("%d alerts sent, %d remain in %s.", report.sent, report.kept, settings.keep_directory)
    return 1 if report.kept or report.lost else 0
