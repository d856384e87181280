"""The command that makes a central repository."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.instruments.camera import camera_names, load_camera
from prompt_processing.repository.central import add_instrument, create_repository, make_central_repository
from prompt_processing.repository.content import RepositoryContent, simulated_content
from prompt_processing.simulation.night import Night

_LOG = logging.getLogger("lsst.repository")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a central repository; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="make-central-repo",
        description="Make a Butler repository that prompt processing can read from and write to.",
    )
    parser.add_argument("root", help="folder or URI (s3:// too) of the new repository")
    parser.add_argument(
        "--add",
        action="store_true",
        help="the repository is there: add the instrument to it, or what of it is missing",
    )
    parser.add_argument(
        "--instrument",
        choices=camera_names(),
        help="default: that of --content; without either the repository is empty, for exports to fill it",
    )
    parser.add_argument(
        "--content",
        metavar="FOLDER",
        help="folder of a simulated night, whose calibrations, templates and reference stars it gets; "
        "without it the repository knows the instrument and nothing else",
    )
    parser.add_argument(
        "--pipeline",
        action="append",
        default=[],
        metavar="FILE",
        help="pipeline whose dataset types are registered; may be given several times",
    )
    parser.add_argument(
        "--database", metavar="URL", help="registry, as SQLAlchemy reads it (default: SQLite)"
    )
    parser.add_argument(
        "--namespace", metavar="SCHEMA", help="schema of the registry within a PostgreSQL database"
    )
    parser.add_argument("--datastore", metavar="URI", help="folder of the datasets (default: below the root)")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    if options.add and options.content is None and options.instrument is None:
        parser.error("--add needs one of --instrument and --content")
    try:
        if options.content is None and options.instrument is None:
            create_repository(options.root, options.database, options.datastore, options.namespace)
            return 0
        if options.content is None:
            camera, content = load_camera(options.instrument), RepositoryContent()
        else:
            night = Night.load(options.content)
            camera, content = night.camera, simulated_content(night)
            if options.instrument not in (None, camera.name):
                parser.error(f"{options.content} is a night of {camera.name}, not of {options.instrument}")
        if options.add:
            add_instrument(options.root, camera, content, pipelines=options.pipeline)
            return 0
        make_central_repository(
            options.root,
            camera,
            content,
            pipelines=options.pipeline,
            database=options.database,
            datastore=options.datastore,
            namespace=options.namespace,
        )
    except (FileExistsError, FileNotFoundError, RepositoryProblemError, ValueError) as error:
        _LOG.critical("%s", error)
        return 1
    return 0
