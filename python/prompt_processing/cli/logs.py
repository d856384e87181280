"""``prompt-logs``: the service's log, by visit and detector."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console

from prompt_processing.operators.log_lines import LEVELS, LogLine, read_line
from prompt_processing.operators.show import show_line, show_summary, show_visit
from prompt_processing.operators.visit_log import Filter, VisitCollector, VisitLog

_POLL_SECONDS = 0.25
_WIDTH_OF_FILES = 1000
"""A file or a pipe does not mind, and nothing of a message is cut off."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Show logs.

    Parameters
    ----------
    arguments : sequence of `str`, optional
        Of the command line.

    Returns
    -------
    status : `int`
        0; 1 if a visit that is shown failed; 2 if a file cannot be read.
    """
    options = _parser().parse_args(arguments)
    wanted = Filter(frozenset(options.detector), frozenset(options.group), options.level)
    console = Console(
        width=None if sys.stdout.isatty() else _WIDTH_OF_FILES,
        force_terminal=None if options.color == "auto" else options.color == "always",
        no_color=options.color == "never" or None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    try:
        return _show(options, wanted, console)
    except (OSError, UnicodeError) as error:
        if isinstance(error, BrokenPipeError):
            # Whoever reads has seen enough. Python would complain once more when it closes the pipe.
            sys.stdout = None
            return 0
        sys.stderr.write(f"prompt-logs: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 0


def _show(options: argparse.Namespace, wanted: Filter, console: Console) -> int:
    collector = VisitCollector()
    ends: Counter[str] = Counter()
    n_failed = 0

    def ended(visit: VisitLog) -> None:
        nonlocal n_failed
        ends[visit.status] += 1
        n_failed += visit.failed
        if visit.failed or not options.failures:
            least = options.level if options.messages else "WARNING"
            show_visit(console, visit, least_level=least)

    for line in _lines(options.file, follow=options.follow):
        if not wanted.accepts(line):
            continue
        if (options.lines or options.follow) and not options.failures and line.outcome is None:
            show_line(console, line)
        if (visit := collector.add(line)) is not None:
            ended(visit)
        if len(collector.others) > 1000:
            collector.others.clear()
    for visit in collector.unfinished():
        ended(visit)
    show_summary(console, dict(ends))
    return 1 if n_failed else 0


def _lines(files: Sequence[str], *, follow: bool) -> Iterator[LogLine]:
    if not files or list(files) == ["-"]:
        # Whatever bytes come are shown somehow.
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(errors="replace")
        for text in sys.stdin:
            yield read_line(text)
        return
    for number, name in enumerate(files, 1):
        with Path(name).open(encoding="utf-8", errors="replace") as file:
            for text in _follow(file) if follow and number == len(files) else file:
                yield read_line(text)


def _follow(file: TextIO) -> Iterator[str]:
    """Read a file that is still written, until somebody ends it."""
    begun = ""
    while True:
        part = file.readline()
        if not part:
            time.sleep(_POLL_SECONDS)
            continue
        begun += part
        # A line may be seen before it is whole.
        if begun.endswith("\n"):
            yield begun
            begun = ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prompt-logs",
        description="Show the service's log by visit and detector: how each ended and what took its time.",
        epilog="Example: kubectl logs -f <pod> | prompt-logs -f --detector 94",
    )
    parser.add_argument("file", nargs="*", help="logs; standard input by default")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="show lines as they come, and go on waiting for more"
    )
    parser.add_argument("--lines", action="store_true", help="show every line, not only visits")
    parser.add_argument("--failures", action="store_true", help="show only visits that failed or have no end")
    parser.add_argument(
        "--messages", action="store_true", help="show all messages of a visit, not only warnings and errors"
    )
    parser.add_argument("--detector", type=int, action="append", default=[], help="only this one; repeatable")
    parser.add_argument("--group", action="append", default=[], help="only this one; repeatable")
    parser.add_argument(
        "--level", type=str.upper, choices=LEVELS, default="TRACE", help="least level of lines"
    )
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    return parser


if __name__ == "__main__":
    sys.exit(main())
