"""The flow that builds calibrations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prompt_processing.butler.opening import open_repository

from ..errors import FlowError
from ..flow import flow
from ..run import FlowRun

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

    from prompt_processing.instruments.camera import Camera
    from prompt_processing.repository.calibrations.plan import Selection


@flow
def build_calibrations(
    run: FlowRun,
    *,
    repo: str,
    instrument: str,
    name: str = "",
    nights: tuple[int, ...] = (),
    detectors: tuple[int, ...] = (),
    least: int = 3,
    crosstalk: bool = False,
    certify: bool = True,
    force: bool = False,
    page: Path | None = None,
) -> None:
    """Make bias, dark, flats, defects, gains and linearity of raw exposures, check and certify them.

    The detectors are worked on at the same time. The calibrations are certified all at once, after they are
    checked; older ones are kept, and workers prefer the new ones from the first exposure on.

    Parameters
    ----------
    run
        The run of the flow.
    repo
        Butler repository with the raws.
    instrument
        Camera.
    name
        Collection <INSTRUMENT>/calib/NAME; by default date and time.
    nights
        First and last night of the exposures, YYYYMMDD; by default all.
    detectors
        Detectors; by default all.
    least
        Fewest exposures of a kind.
    crosstalk
        Measure crosstalk with the science exposures of these nights.
    certify
        Certify the calibrations, if they pass their checks.
    force
        Certify them whatever the checks say.
    page
        Page of figures and pictures, HTML.
    """
    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.instruments.camera import load_camera
    from prompt_processing.repository.calibrations.build import build_calibrations as build
    from prompt_processing.repository.calibrations.build import certify as certify_build
    from prompt_processing.repository.calibrations.build import require_new
    from prompt_processing.repository.calibrations.checks import check_build
    from prompt_processing.repository.calibrations.page import write_page
    from prompt_processing.repository.calibrations.plan import noon_before, select_exposures

    from .quanta import runner
    from .values import nights_between, timestamp

    use_butler_types()
    camera = load_camera(instrument)
    with open_repository(repo, writeable=not run.dry_run) as butler:
        selection = select_exposures(butler, instrument, nights_between(nights), detectors, science=crosstalk)
        run.table(
            "Exposures", [{"kind": kind, "exposures": len(ids)} for kind, ids in selection.exposures.items()]
        )
        if run.dry_run:
            _show_plan(run, butler, camera, selection, least)
            return
        label = name or run.remember("name", timestamp)
        if not run.recalls("begun"):
            require_new(butler, instrument, label)
            run.remember("begun", lambda: True)
        made = build(
            butler,
            camera,
            selection,
            f"{instrument}/calib/{label}/run",
            least=least,
            run_task=runner(run, repo, label),
            resume=True,
        )
        for step, reason in made.skipped.items():
            run.say(f"{step}: not made, {reason}.")
        checks = check_build(butler, made)
        run.table(
            "Checks",
            [{"check": one.what, "passed": one.passed, "finding": one.finding} for one in checks],
        )
        if page is not None:
            write_page(page, butler, made, checks)
            run.say(f"Look at {page}.")
        if not all(check.passed for check in checks) and not force:
            raise FlowError(f"a calibration failed its checks: nothing is certified; they are in {made.run}")
        if not certify:
            run.say(f"The calibrations are in {made.run}.")
            return
        collection = certify_build(butler, made, label, noon_before(selection.first), None, resume=True)
        run.say(f"Certified {collection}.")


def _show_plan(run: FlowRun, butler: Butler, camera: Camera, selection: Selection, least: int) -> None:
    from prompt_processing.repository.calibrations.plan import quanta_of, steps_of

    from .cost import cost_row, earlier_cost

    rows = []
    for step in steps_of(camera, selection):
        reason = step.skipped(selection, least)
        quanta = 0 if reason else quanta_of(butler, camera.name, selection, step)
        rows.append(cost_row(step.label, quanta, earlier_cost(butler, step.label, step.outputs), reason))
    run.table("Quanta", rows)
