"""``prompt repo finish-exports``: finish or remove exports that dead workers left unfinished."""

from __future__ import annotations

import logging

import click

from prompt_processing.cli.command import Command


@click.command(
    cls=Command,
    examples="""
    prompt repo finish-exports $CENTRAL_REPO
    """,
    statuses={1: "an export needs attention, or the repository does not respond"},
)
@click.argument("repository", help="URI of the central Butler repository.")
@click.option(
    "--older-than",
    type=float,
    default=3600.0,
    show_default=True,
    help="Age in seconds; younger exports are ignored.",
)
def main(repository: str, older_than: float) -> int:
    """Finish or remove exports that a dead worker left unfinished.

    Outputs that were copied completely are registered; outputs that were copied in part are removed. Run it
    daily, outside observing hours.
    """
    from prompt_processing.butler_writer.unfinished import finish_repository
    from prompt_processing.domain.errors import RetriableError
    from prompt_processing.telemetry.logs import LogContext, configure_logging

    log = logging.getLogger("lsst.butler_writer.unfinished")
    configure_logging(LogContext(), {})
    try:
        report = finish_repository(repository, older_than)
    except RetriableError as error:
        log.critical("%s", error.reason)
        return 1
    log.info(
        "%d exports finished, %d removed, %d too recent, %d left.",
        report.finished,
        report.cleared,
        report.young,
        report.left,
    )
    return 1 if report.left else 0
