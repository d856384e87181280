"""``prompt repo import`` and ``prompt repo import-raws``: fill a repository."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from prompt_processing.cli.command import Command
from prompt_processing.cli.options import log_to_stderr


@click.command(
    cls=Command,
    examples="""
    prompt repo import central_repo inputs templates
    prompt repo import central_repo visits --transfer direct
    """,
    statuses={1: "the repository or an export is unusable"},
)
@click.argument("repo", help="The repository: path, URI or alias.")
@click.argument(
    "folders", nargs=-1, required=True, metavar="FOLDER...", type=click.Path(path_type=Path), help="Exports."
)
@click.option(
    "--transfer",
    type=click.Choice(("copy", "move", "link", "hardlink", "symlink", "direct")),
    default="copy",
    show_default=True,
    help="How files are transferred.",
)
def exports(repo: str, folders: tuple[Path, ...], transfer: str) -> int:
    """Read exports into a repository.

    Existing content is left unchanged and chains keep their members, so an import can be repeated.
    """
    from lsst.daf.butler import Butler

    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.domain.errors import RepositoryProblemError
    from prompt_processing.repository.imports import import_export

    log_to_stderr(logging.INFO)
    use_butler_types()
    try:
        with Butler.from_config(repo, writeable=True) as butler:
            for folder in folders:
                imported = import_export(butler, folder, transfer)
                for name, number in sorted(imported.datasets.items()):
                    click.echo(f"{number:8d} new {name}")
                click.echo(f"{imported.present:8d} present already")
                for chain, members in imported.chains.items():
                    click.echo(f"{chain} now has {', '.join(members)}")
    except (RepositoryProblemError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    return 0


@click.command(
    cls=Command,
    examples="""
    prompt repo import-raws hsc_repo night/unobserved
    prompt repo import-raws hsc_repo s3://bucket/HSC --run HSC/raw/test
    prompt repo import-raws central_repo night/darks --type dark
    """,
    statuses={1: "a file is not a raw, or the repository is unusable"},
)
@click.argument("repo", help="The repository: path, URI or alias.")
@click.argument("raws", nargs=-1, required=True, metavar="RAW...", help="Files or folders, s3:// too.")
@click.option("--run", help="Run for the raws.  [default: <INSTRUMENT>/raw/all]")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["bias", "dark", "flat", "fringe", "science"]),
    help="What the raws are, where their headers do not say.",
)
def import_raws(repo: str, raws: tuple[str, ...], run: str | None, kind: str | None) -> int:
    """Copy raws into a repository, and define their exposures and visits."""
    from lsst.daf.butler import Butler

    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.domain.errors import RepositoryProblemError
    from prompt_processing.instruments.errors import RawError
    from prompt_processing.repository.raws import find_raws, import_raws

    # The middleware would log a line for each file.
    log_to_stderr()
    use_butler_types()
    try:
        files = list(find_raws(raws))
        with Butler.from_config(repo, writeable=True) as butler:
            number = import_raws(butler, files, run, kind=kind)
    except (RepositoryProblemError, RawError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    # A raw may have several detectors.
    of_detectors = number > len(files)
    new = (
        f"{number} images of detectors, in {len(files)} raws,"
        if of_detectors
        else f"{number} of {len(files)} raws"
    )
    click.echo(f"{new} are new to {repo}.")
    return 0
