"""``prompt repo check``: report what a central repository lacks for prompt processing, with remedies."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from prompt_processing.butler.opening import open_repository
from prompt_processing.cli.command import Command
from prompt_processing.cli.options import INSTRUMENT, TYPE_NAMES_HELP, log_to_stderr, parse_type_names

if TYPE_CHECKING:
    from prompt_processing.repository.check import Finding


@click.command(
    cls=Command,
    examples="""
    prompt repo check                                          # with a worker's settings
    prompt repo check central_repo --instrument LSSTCam --pipeline pipelines/LSSTCam
    """,
    statuses={0: "visits can be processed", 1: "visits cannot be processed"},
)
@click.argument("repo", required=False, envvar="CENTRAL_REPO", help="The repository.  [CENTRAL_REPO]")
@click.option("--instrument", type=INSTRUMENT, envvar="RUBIN_INSTRUMENT", show_envvar=True, help="Camera.")
@click.option("--skymap", envvar="SKYMAP", show_envvar=True, help="Name of the sky map.")
@click.option(
    "--pipeline",
    "pipelines",
    multiple=True,
    metavar="FILE",
    help="Pipeline, or folder of pipelines; repeatable.  [default: those of the worker's settings]",
)
@click.option("--apdb", envvar="CONFIG_APDB", show_envvar=True, help="Configuration of the APDB.")
@click.option("--when", help="Time at which calibrations must be valid, such as 2026-06-01.  [default: now]")
@click.option("--names", envvar="DATASET_TYPE_NAMES", show_envvar=True, metavar="YAML", help=TYPE_NAMES_HELP)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
def main(
    repo: str | None,
    instrument: str | None,
    skymap: str | None,
    pipelines: tuple[str, ...],
    apdb: str | None,
    when: str | None,
    names: str | None,
    as_json: bool,
) -> int:
    """Report what an instrument's workers lack in their central repository and in the APDB.

    Nothing is changed.
    """
    if not repo or not instrument:
        raise click.UsageError(
            "Name a repository and --instrument, or set CENTRAL_REPO and RUBIN_INSTRUMENT."
        )

    from astropy.time import Time

    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.domain.errors import RepositoryProblemError
    from prompt_processing.instruments.camera import load_camera
    from prompt_processing.repository.check import Severity, check_repository
    from prompt_processing.repository.check_apdb import check_apdb
    from prompt_processing.repository.chosen_pipelines import chosen_pipelines

    log_to_stderr()
    try:
        time = Time(when) if when else None
    except ValueError as error:
        raise click.BadParameter(f"{when!r} is not a time.", param_hint="--when") from error
    use_butler_types()
    try:
        chosen = chosen_pipelines(pipelines, os.environ)
        with open_repository(repo) as butler:
            findings = check_repository(
                butler,
                load_camera(instrument),
                pipelines=chosen,
                sky_map=skymap,
                when=time,
                type_names=parse_type_names(names),
            )
    except (RepositoryProblemError, FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if apdb:
        findings.append(check_apdb(apdb))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        _print(findings)
    return 1 if any(one.severity is Severity.PROBLEM for one in findings) else 0


def _print(findings: Sequence[Finding]) -> None:
    from prompt_processing.repository.check import Severity

    for one in findings:
        click.echo(f"{one.severity.value:<8} {one.subject}: {one.message}")
        if one.remedy:
            click.echo(f"{'':<8} -> {one.remedy}")
    counts = {kind: sum(one.severity is kind for one in findings) for kind in Severity}
    click.echo(f"{counts[Severity.PROBLEM]} problem(s), {counts[Severity.WARNING]} warning(s)")
