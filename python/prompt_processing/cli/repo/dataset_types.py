"""``prompt repo dataset-types``: show and register the dataset types that a repository lacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from prompt_processing.butler.opening import open_repository
from prompt_processing.cli.command import Command
from prompt_processing.cli.options import TYPE_NAMES_HELP, log_to_stderr, parse_type_names

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

_DIFFERING = 2


@click.command(
    cls=Command,
    examples="""
    prompt repo dataset-types                                  # with a worker's settings
    prompt repo dataset-types central_repo --pipeline pipelines/LSSTCam --register
    """,
    statuses={
        1: "types are missing",
        _DIFFERING: "the repository and the pipelines define a type differently, or wrong arguments",
    },
)
@click.argument("repo", required=False, envvar="CENTRAL_REPO", help="The repository.  [CENTRAL_REPO]")
@click.option(
    "--pipeline",
    "pipelines",
    multiple=True,
    metavar="FILE",
    help="Pipeline, or folder of pipelines; repeatable.  [default: those of PREPROCESSING_PIPELINES_CONFIG "
    "and MAIN_PIPELINES_CONFIG]",
)
@click.option("--register", is_flag=True, help="Register missing types without asking.")
@click.option("--names", envvar="DATASET_TYPE_NAMES", show_envvar=True, metavar="YAML", help=TYPE_NAMES_HELP)
def main(repo: str | None, pipelines: tuple[str, ...], register: bool, names: str | None) -> int:
    """Show the dataset types that pipelines need and a repository lacks, and register them."""
    if not repo:
        raise click.UsageError("Name a repository, or set CENTRAL_REPO.")

    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.domain.errors import RepositoryProblemError
    from prompt_processing.repository.chosen_pipelines import CONFIGURATIONS, chosen_pipelines

    log_to_stderr()
    try:
        chosen = chosen_pipelines(pipelines, os.environ)
        if not chosen:
            raise click.UsageError(f"Name a pipeline, or set {' and '.join(CONFIGURATIONS)}.")
        use_butler_types()
        with open_repository(repo, writeable=register or sys.stdin.isatty()) as butler:
            return _compare(butler, repo, chosen, register, parse_type_names(names))
    except (RepositoryProblemError, FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from error


def _compare(
    butler: Butler, repo: str, pipelines: Sequence[str], register: bool, names: Mapping[str, str]
) -> int:
    from prompt_processing.repository.dataset_types import compare_dataset_types, register_missing

    needed = compare_dataset_types(butler, pipelines, names)
    click.echo(f"{repo} has {len(needed.present)} of the dataset types of {len(pipelines)} pipeline(s).")
    for name, difference in needed.differing.items():
        click.echo(f"  differs  {name}: {difference}")
    for name, other in needed.renamed.items():
        click.echo(f"  renamed  {name}: {other}")
    for name, difference in needed.unread.items():
        click.echo(f"  unread   {name}: {difference}")
    for missing in needed.missing:
        dimensions = ", ".join(missing.dimensions.required) or "no dimensions"
        click.echo(f"  missing  {missing.name}: {missing.storageClass_name} by {dimensions}")
    if needed.differing:
        click.echo(
            "A type cannot be changed: remove the repository's (butler remove-dataset-type), or rename ours."
        )
        return _DIFFERING
    if not needed.missing:
        click.echo("Nothing is missing.")
        return 0
    if not register and not _agreed(len(needed.missing)):
        click.echo("Nothing was changed; --register registers the missing types.")
        return 1
    register_missing(butler, needed)
    click.echo(f"Registered {len(needed.missing)} dataset type(s).")
    return 0


def _agreed(number: int) -> bool:
    return sys.stdin.isatty() and click.confirm(f"Register {number} dataset type(s)?")
