"""``bin/services``: start and stop the servers from the command line."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from .checking_tools import CheckingTools
from .installation import MissingSoftwareError
from .installer import default_folder
from .server import ServerFailedError
from .software import Software
from .stack import SERVICES, ServiceStack

__all__ = ["main"]

_log = logging.getLogger("lsst.services")


def main(arguments: Sequence[str] | None = None) -> int:
    """Start, stop or show the servers.

    Parameters
    ----------
    arguments
        Arguments of the command line.

    Returns
    -------
    status
        0 on success; 1 if a server failed or, for ``status``, does not run; 3 if software is missing.
    """
    parser = argparse.ArgumentParser(
        prog="bin/services",
        description="Real servers on this machine: Kafka, S3, PostgreSQL, Redis and a schema registry, on "
        "free ports of the loopback interface. Programs that are not on the PATH are installed first.",
    )
    parser.add_argument("action", choices=("up", "down", "status", "environment", "install"))
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[kind.name for kind in SERVICES],
        help="only these servers and those they depend on",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=default_folder() / "run",
        help="folder for data and logs; default: %(default)s",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    kinds = [kind for kind in SERVICES if options.only is None or kind.name in options.only]
    software = Software()
    try:
        stack = ServiceStack.load(options.folder, software)
        match options.action:
            case "up":
                stack.start(*kinds)
                _show(stack)
                print(f'To set up clients: eval "$(bin/services environment --folder {options.folder})"')
            case "down":
                stack.stop()
            case "status":
                return _show(stack)
            case "environment":
                for name, value in sorted(stack.environment().items()):
                    print(f"export {name}={shlex.quote(value)}")
            case "install":
                software.install()
                CheckingTools().install()
                software.install_edge()
                software.install_notebooks()
                software.chromium()
    except MissingSoftwareError as error:
        _log.critical("%s", error)
        return 3
    except ServerFailedError as error:
        _log.critical("%s", error)
        return 1
    return 0


def _show(stack: ServiceStack) -> int:
    all_answer = True
    for service, server in stack:
        answers = server.answers
        all_answer = all_answer and answers
        state = "up" if answers else "not answering" if server.running else "down"
        print(f"{service.name:16} {state:14} {service.address()}   log: {server.log}")
    if not list(stack):
        print("No server was started; bin/services up starts all.")
    return 0 if all_answer else 1


if __name__ == "__main__":
    sys.exit(main())
