"""The flow that builds templates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_processing.butler.opening import open_repository

from ..errors import FlowError
from ..flow import flow
from ..run import FlowRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lsst.daf.butler import Butler

    from prompt_processing.repository.templates.build import TemplateBuild
    from prompt_processing.repository.templates.selection import Candidate


@flow
def build_templates(
    run: FlowRun,
    *,
    repo: str,
    instrument: str,
    name: str = "",
    collections: tuple[str, ...] = (),
    skymap: str | None = None,
    new_skymap: str | None = None,
    visits: tuple[int, ...] = (),
    nights: tuple[int, ...] = (),
    before: str | None = None,
    seeing: float | None = None,
    depth: float | None = None,
    background: float | None = None,
    least: int = 3,
    publish: bool = True,
    page: Path | None = None,
) -> None:
    """Make templates of the images of visits.

    The patches are worked on at the same time. Workers find the new templates all at once, after all patches
    are made; older ones are kept.

    Parameters
    ----------
    run
        The run of the flow.
    repo
        Butler repository with the images.
    instrument
        Camera.
    name
        Collection <INSTRUMENT>/templates/NAME; by default date and time.
    collections
        Collections of the preliminary_visit_image; by default <INSTRUMENT>/prompt/*.
    skymap
        Sky map of the templates; by default the only one.
    new_skymap
        Make this sky map around the images, and use it.
    visits
        Visits to choose from; by default all.
    nights
        First and last night of the visits, YYYYMMDD; by default all.
    before
        Only visits that ended before this time, UTC: before a transient.
    seeing
        Largest FWHM, arcsec.
    depth
        Least 5-sigma limiting magnitude.
    background
        Largest sky level of a pixel, electrons.
    least
        Fewest visits of a patch.
    publish
        Put the templates first in the workers' search order.
    page
        Page of figures and pictures, HTML.
    """
    from prompt_processing.butler.types import use_butler_types
    from prompt_processing.repository.templates import build as templates
    from prompt_processing.repository.templates.page import write_page
    from prompt_processing.repository.templates.selection import Limits, select_images

    from .quanta import runner
    from .values import nights_between, time_of, timestamp

    if skymap and new_skymap:
        raise FlowError("skymap and new_skymap exclude each other")
    use_butler_types()
    limits = Limits(
        visits,
        nights_between(nights),
        time_of(before, "before"),
        math.inf if seeing is None else seeing,
        -math.inf if depth is None else depth,
        math.inf if background is None else background,
    )
    with open_repository(repo, writeable=not run.dry_run) as butler:
        candidates = select_images(butler, instrument, limits, collections)
        _show_candidates(run, candidates)
        if run.dry_run:
            _show_plan(run, butler, repo, instrument, candidates, new_skymap or skymap)
            return
        if new_skymap and not run.recalls("skymap"):
            templates.make_sky_map(butler, new_skymap, candidates)
            run.remember("skymap", lambda: new_skymap)
        sky_map = templates.choose_sky_map(butler, new_skymap or skymap)
        label = name or run.remember("name", timestamp)
        if not run.recalls("begun"):
            templates.require_new(butler, instrument, label)
            run.remember("begun", lambda: True)
        made = templates.build_templates(
            butler,
            instrument,
            candidates,
            sky_map,
            label,
            least=least,
            run_task=runner(run, repo, label),
            resume=True,
        )
        _show_patches(run, made)
        if page is not None:
            write_page(page, butler, made, candidates)
            run.say(f"Look at {page}.")
        if not made.made:
            raise FlowError(f"no patch has {least} visits: least allows fewer")
        if publish:
            templates.publish(butler, made)
            run.say(f"Workers use {made.run} from now on.")
        else:
            run.say(f"The templates are in {made.run}.")


def _show_candidates(run: FlowRun, candidates: Sequence[Candidate]) -> None:
    chosen = [one for one in candidates if not one.left_out]
    run.say(f"{len(chosen)} of {len(candidates)} images are chosen.")
    run.table(
        "Images that are left out",
        [{"visit and detector": one.name, "reason": one.left_out} for one in candidates if one.left_out],
    )


def _show_patches(run: FlowRun, made: TemplateBuild) -> None:
    run.table(
        "Patches",
        [
            {
                "tract": one.tract,
                "patch": one.patch,
                "band": one.band,
                "made": one.ref is not None,
                "visits": int(one.figures.get("visits", 0)),
                "seeing (arcsec)": one.figures.get("seeing_fwhm_arcsec"),
                "depth (mag)": one.figures.get("limiting_magnitude_5sigma"),
                "covered": one.figures.get("coverage"),
            }
            for one in made.patches
        ],
    )


def _show_plan(
    run: FlowRun,
    butler: Butler,
    repo: str,
    instrument: str,
    candidates: Sequence[Candidate],
    sky_map: str | None,
) -> None:
    import tempfile

    from prompt_processing.batch import run as batch
    from prompt_processing.repository.templates.build import choose_sky_map, known_sky_maps, planned_task

    from .cost import cost_row, earlier_cost
    from .quanta import request_of

    if sky_map and sky_map not in known_sky_maps(butler):
        run.say(f"The sky map {sky_map} would be made; the number of its patches is not known before.")
        return
    wanted = planned_task(instrument, candidates, choose_sky_map(butler, sky_map))
    with tempfile.TemporaryDirectory() as scratch:
        found = batch.preview(request_of(wanted, repo, Path(scratch)), Path(scratch) / "runs", wanted.run)
    cost = earlier_cost(butler, wanted.label, ("template_coadd",))
    run.table(
        "Quanta", [cost_row(label, count, cost, "one a patch") for label, count in found.quanta.items()]
    )
