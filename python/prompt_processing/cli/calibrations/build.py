"""``prompt calibrations build``: make calibrations of raw exposures."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prompt_processing.cli.command import Command
from prompt_processing.cli.options import INSTRUMENT, NUMBERS, log_to_stderr

if TYPE_CHECKING:
    from astropy.time import Time


@click.command(
    cls=Command,
    examples="""
    prompt calibrations build --repo central_repo --instrument small --page calibrations.html
    prompt calibrations build --repo central_repo --instrument DECam --nights 20260910 20260912 --name 2026-09
    """,
    statuses={
        1: "the calibrations cannot be made",
        4: "a calibration failed its checks; nothing is certified",
    },
)
@click.option("--repo", required=True, metavar="URI", help="Butler repository with the raws.")
@click.option("--instrument", required=True, type=INSTRUMENT, help="Camera.")
@click.option("--name", metavar="NAME", help="Collection <INSTRUMENT>/calib/NAME.  [default: date and time]")
@click.option(
    "--nights",
    nargs=2,
    type=int,
    metavar="FIRST LAST",
    help="Nights of the exposures, YYYYMMDD.  [default: all]",
)
@click.option("--detectors", type=NUMBERS, metavar="N,N...", help="Detectors.  [default: all]")
@click.option(
    "--begin", metavar="TIME", help="Begin of the validity, UTC.  [default: noon before the first exposure]"
)
@click.option("--end", metavar="TIME", help="End of the validity, UTC.  [default: none]")
@click.option(
    "--least", type=click.IntRange(min=1), default=3, show_default=True, help="Least exposures of a kind."
)
@click.option(
    "--crosstalk", is_flag=True, help="Measure crosstalk with the science exposures of these nights."
)
@click.option(
    "--page", type=click.Path(path_type=Path), metavar="FILE", help="Page of figures and pictures, HTML."
)
@click.option("--no-certify", is_flag=True, help="Only make and check them.")
@click.option("--force", is_flag=True, help="Certify them whatever the checks say.")
def main(
    repo: str,
    instrument: str,
    name: str | None,
    nights: tuple[int, int] | None,
    detectors: tuple[int, ...] | None,
    begin: str | None,
    end: str | None,
    least: int,
    crosstalk: bool,
    page: Path | None,
    no_certify: bool,
    force: bool,
) -> int:
    """Make bias, dark, flats, defects, gains, linearity and crosstalk of raw exposures.

    The calibrations are checked, and certified from the first exposure on. Workers prefer them to older ones.
    """
    from lsst.daf.butler import Butler

    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.domain.errors import RepositoryProblemError
    from prompt_processing.imaging.errors import NumericalError
    from prompt_processing.instruments.camera import load_camera
    from prompt_processing.instruments.errors import RawError
    from prompt_processing.repository.calibrations.build import build_calibrations, certify
    from prompt_processing.repository.calibrations.checks import check_build
    from prompt_processing.repository.calibrations.page import write_page
    from prompt_processing.repository.calibrations.plan import noon_before, select_exposures

    log_to_stderr(logging.WARNING)
    limits = _time(begin, "--begin"), _time(end, "--end")
    use_butler_types()
    label = name or datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    try:
        with Butler.from_config(repo, writeable=True) as butler:
            selection = select_exposures(butler, instrument, nights, detectors or (), science=crosstalk)
            for kind, exposures in selection.exposures.items():
                click.echo(f"{len(exposures)} {kind} exposures.")
            run = f"{instrument}/calib/{label}/run"
            build = build_calibrations(butler, load_camera(instrument), selection, run, least=least)
            for step, reason in build.skipped.items():
                click.echo(f"{step}: not made, {reason}.")
            checks = check_build(butler, build)
            for check in checks:
                click.echo(f"{'ok    ' if check.passed else 'FAILED'} {check.what}: {check.finding}.")
            if page is not None:
                write_page(page, butler, build, checks)
                click.echo(f"Look at {page}.")
            if not all(check.passed for check in checks) and not force:
                click.echo(f"Nothing is certified; the calibrations are in {run}.")
                return 4
            if no_certify:
                click.echo(f"The calibrations are in {run}.")
                return 0
            first = limits[0] or noon_before(selection.first)
            collection = certify(butler, build, label, first, limits[1])
    except (RepositoryProblemError, RawError, NumericalError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Certified {collection}{'' if first is None else f' from {first.utc.isot} on'}.")
    return 0


def _time(text: str | None, option: str) -> Time | None:
    """Read a time, UTC."""
    from astropy.time import Time

    if text is None:
        return None
    try:
        return Time(text, scale="utc").tai
    except ValueError as error:
        raise click.UsageError(f"{option} {text!r} is not a time such as 2026-09-10T12:00:00.") from error
