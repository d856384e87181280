"""``prompt logs``: show the service's log by visit and detector."""

from __future__ import annotations

import sys

import click

from .command import Command

_WIDTH_OF_FILES = 1000
"""Wide enough that no message is cut off in a file or a pipe."""

_LEVELS = ("TRACE", "VERBOSE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_UNREADABLE = 2


@click.command(
    cls=Command,
    examples="""
    kubectl logs -f POD | prompt logs -f --detector 94
    prompt logs worker.log --failures
    prompt logs worker.log --group 2025-06-10T08:18:28.123 --messages
    """,
    statuses={
        1: "a visit among those shown failed",
        _UNREADABLE: "a file cannot be read, or wrong arguments",
    },
)
@click.argument("files", nargs=-1, metavar="[FILE]...", help="Logs; standard input by default.")
@click.option("-f", "--follow", is_flag=True, help="Show lines as they are written, and wait for more.")
@click.option("--lines", is_flag=True, help="Show every line, not only visits.")
@click.option("--failures", is_flag=True, help="Show only visits that failed or have no end.")
@click.option("--messages", is_flag=True, help="Show all messages of a visit, not only warnings and errors.")
@click.option("--detector", "detectors", type=int, multiple=True, help="Show only this detector; repeatable.")
@click.option("--group", "groups", multiple=True, help="Show only this group; repeatable.")
@click.option(
    "--level",
    type=click.Choice(_LEVELS, case_sensitive=False),
    default="TRACE",
    show_default=True,
    help="Lowest level of lines to show.",
)
@click.option(
    "--color", type=click.Choice(("auto", "always", "never")), default="auto", help="Whether to colour."
)
def main(
    files: tuple[str, ...],
    follow: bool,
    lines: bool,
    failures: bool,
    messages: bool,
    detectors: tuple[int, ...],
    groups: tuple[str, ...],
    level: str,
    color: str,
) -> int:
    """Show the service's log by visit and detector, with the outcome and the time of each stage."""
    from rich.console import Console

    from prompt_processing.operators.log_view import LogView, show_logs
    from prompt_processing.operators.visit_log import Filter

    wanted = Filter(frozenset(detectors), frozenset(groups), level)
    console = Console(
        width=None if sys.stdout.isatty() else _WIDTH_OF_FILES,
        force_terminal=None if color == "auto" else color == "always",
        no_color=color == "never" or None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    try:
        n_failed = show_logs(console, files, wanted, LogView(follow, lines, failures, messages))
    except (OSError, UnicodeError) as error:
        if isinstance(error, BrokenPipeError):
            # The reader has closed the pipe. Without this, Python reports it again when it exits.
            sys.stdout = None
            return 0
        click.echo(f"Error: {error}", err=True)
        return _UNREADABLE
    except KeyboardInterrupt:
        return 0
    return 1 if n_failed else 0
