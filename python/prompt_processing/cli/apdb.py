"""``prompt-apdb``: make, look at and empty an APDB."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Sequence

from prompt_processing.apdb.administration import (
    ApdbStatus,
    create,
    require_development,
    reset,
    shown,
    status,
)
from prompt_processing.domain.errors import RepositoryProblemError

_LOG = logging.getLogger("lsst.repository.apdb")

_INCOMPATIBLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one of the three; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        if options.command == "create":
            config = create(
                options.database,
                options.config,
                namespace=options.namespace,
                development=options.development,
            )
            print(f"Made the APDB {shown(config)}; its configuration is {options.config}.")
            return 0
        if not options.config:
            raise RepositoryProblemError("Name the configuration of the APDB, or set CONFIG_APDB.")
        if options.command == "status":
            return _status(options.config, options.json)
        return _reset(options.config, options.yes)
    except RepositoryProblemError as error:
        _LOG.critical("%s", error)
        return 1


def create_main(arguments: Sequence[str]) -> int:
    """Make an APDB; returns the exit status."""
    return main(["create", *arguments])


def status_main(arguments: Sequence[str]) -> int:
    """Show an APDB; returns the exit status."""
    return main(["status", *arguments])


def reset_main(arguments: Sequence[str]) -> int:
    """Empty an APDB; returns the exit status."""
    return main(["reset", *arguments])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prompt-apdb",
        description="Make, look at and empty an Alert Production Database (APDB).",
        epilog="Everything else: apdb-cli.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    creating = commands.add_parser("create", help="make an APDB in an empty database or namespace")
    creating.add_argument("database", help="URL, such as postgresql://user@host/apdb or sqlite:///apdb.db")
    creating.add_argument("config", help="where its configuration is written, for CONFIG_APDB; s3:// too")
    creating.add_argument("--namespace", help="schema of its tables in the database (PostgreSQL)")
    creating.add_argument(
        "--development", action="store_true", help="mark it as one that reset may empty; never in production"
    )
    looking = commands.add_parser("status", help="tell its versions and what it holds")
    looking.add_argument("--json", action="store_true", help="for programs")
    emptying = commands.add_parser(
        "reset", help="destroy all that an APDB for development holds, and make its tables anew"
    )
    emptying.add_argument("--yes", action="store_true", help="do not ask")
    for one in (looking, emptying):
        one.add_argument(
            "config",
            nargs="?",
            default=os.environ.get("CONFIG_APDB"),
            help="its configuration (default: CONFIG_APDB)",
        )
    return parser


def _status(config: str, as_json: bool) -> int:
    found = status(config)
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        for line in _lines(found):
            print(line)
    return 0 if found.compatible else _INCOMPATIBLE


def _lines(found: ApdbStatus) -> list[str]:
    fit = "fits" if found.compatible else "DOES NOT FIT"
    return [
        f"database     {found.database}",
        f"schema       {found.schema_version}; {fit} the installed one, {found.installed_version}",
        f"development  {found.development or 'no: prompt-apdb reset refuses it'}",
        *(f"{name:<12} {number} rows" for name, number in found.rows.items()),
        f"last visit   {found.last_visit if found.last_visit is not None else 'none'}",
    ]


def _reset(config: str, agreed: bool) -> int:
    found = status(config)
    require_development(found, config)
    print("This destroys, for ever:")
    for line in _lines(found):
        print(f"  {line}")
    if not agreed and not _asked(found):
        print("Nothing was changed.")
        return 1
    reset(config)
    print(f"{found.database} is empty.")
    return 0


def _asked(found: ApdbStatus) -> bool:
    name = found.namespace or found.database.rpartition("/")[2].partition("?")[0]
    try:
        answer = input(f"Type {name} to go on: ")
    except EOFError:
        # Nobody is there to ask.
        print()
        return False
    return answer.strip() == name
