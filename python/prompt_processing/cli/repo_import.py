"""The command that reads an export into a repository."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from lsst.daf.butler import Butler

from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.repository.imports import import_export

_LOG = logging.getLogger("lsst.repository.import")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read exports into a repository; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="import_export",
        description="Read exports into a repository. What it has already stays as it is, and chains keep "
        "their members, so that an import can be repeated.",
    )
    parser.add_argument("repo", help="the repository: path, URI or alias")
    parser.add_argument("folder", nargs="+", type=Path, help="folder of an export")
    parser.add_argument(
        "--transfer",
        default="copy",
        choices=("copy", "move", "link", "hardlink", "symlink", "direct"),
        help="what becomes of the files (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    use_butler_types()
    try:
        with Butler.from_config(options.repo, writeable=True) as butler:
            for folder in options.folder:
                imported = import_export(butler, folder, options.transfer)
                for name, number in sorted(imported.datasets.items()):
                    sys.stdout.write(f"{number:8d} new {name}\n")
                sys.stdout.write(f"{imported.present:8d} present already\n")
                for chain, members in imported.chains.items():
                    sys.stdout.write(f"{chain} has got {', '.join(members)}\n")
    except (RepositoryProblemError, FileNotFoundError) as error:
        _LOG.critical("%s", error)
        return 1
    return 0
