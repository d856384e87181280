"""``prompt repo make``: make a central repository, or add an instrument to one."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from prompt_processing.cli.command import Command
from prompt_processing.cli.options import INSTRUMENT, log_to_stderr


@click.command(
    cls=Command,
    examples="""
    prompt repo make --instrument LSSTCam lsstcam_repo
    prompt repo make --content night central_repo            # night: from prompt simulate
    prompt repo make --add --instrument LATISS lsstcam_repo
    prompt repo make --instrument HSC --database postgresql://user@host/registry --namespace hsc s3://bucket/repo
    """,
    statuses={1: "the repository cannot be made, or --add does not fit it"},
)
@click.argument("root", help="Folder or URI (s3:// too) of the new repository.")
@click.option(
    "--add", is_flag=True, help="Add the instrument, or its missing parts, to an existing repository."
)
@click.option(
    "--instrument",
    type=INSTRUMENT,
    help="Camera.  [default: that of --content; without either the repository is empty]",
)
@click.option(
    "--content",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Simulated night; its calibrations, templates and reference stars are added.",
)
@click.option(
    "--pipeline",
    "pipelines",
    multiple=True,
    metavar="FILE",
    help="Pipeline whose dataset types are registered; repeatable.",
)
@click.option(
    "--database", metavar="URL", help="SQLAlchemy URL of the registry's database.  [default: SQLite]"
)
@click.option("--namespace", metavar="SCHEMA", help="PostgreSQL schema of the registry.")
@click.option("--datastore", metavar="URI", help="Folder of the datasets.  [default: below ROOT]")
def main(
    root: str,
    add: bool,
    instrument: str | None,
    content: Path | None,
    pipelines: tuple[str, ...],
    database: str | None,
    namespace: str | None,
    datastore: str | None,
) -> int:
    """Make a Butler repository that prompt processing can read from and write to."""
    if add and content is None and instrument is None:
        raise click.UsageError("--add needs --instrument or --content.")

    from prompt_processing.domain.errors import RepositoryProblemError
    from prompt_processing.instruments.camera import load_camera
    from prompt_processing.repository.central import (
        add_instrument,
        create_repository,
        make_central_repository,
    )
    from prompt_processing.repository.content import RepositoryContent, simulated_content

    log_to_stderr(logging.INFO, "%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if content is not None:
            from prompt_processing.simulation.night import Night

            night = Night.load(content)
            camera, goods = night.camera, simulated_content(night)
            if instrument not in (None, camera.name):
                raise click.UsageError(f"{content} is a night of {camera.name}, not of {instrument}.")
        elif instrument is not None:
            camera, goods = load_camera(instrument), RepositoryContent()
        else:
            create_repository(root, database, datastore, namespace)
            return 0
        if add:
            add_instrument(root, camera, goods, pipelines=list(pipelines))
        else:
            make_central_repository(
                root,
                camera,
                goods,
                pipelines=list(pipelines),
                database=database,
                datastore=datastore,
                namespace=namespace,
            )
    except (FileExistsError, FileNotFoundError, RepositoryProblemError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    return 0
