"""Make templates of the images of visits, in a run that workers find once it is complete."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    DatasetRef,
    MissingCollectionError,
    MissingDatasetTypeError,
)
from lsst.sphgeom import ConvexPolygon

from prompt_processing.butler.collections import Collections
from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.images import SkyMap
from prompt_processing.repository.central import put_sky_map, register_inputs
from prompt_processing.repository.chains import add_to_chain
from prompt_processing.repository.task_runs import TaskRun, TaskRunner, run_here
from prompt_processing.tasks.coadd_templates import CoaddTemplatesTask

from .selection import IMAGES, Candidate

__all__ = [
    "Patch",
    "TemplateBuild",
    "build_templates",
    "choose_sky_map",
    "known_sky_maps",
    "make_sky_map",
    "planned_task",
    "publish",
    "require_new",
]

_LOG = logging.getLogger(__name__)

LABEL = "coaddTemplates"
_PATCH_SIZE = 4000
_LEAST_PATCH_SIZE = 200


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch in one band.

    Attributes
    ----------
    tract, patch, band
        Its place.
    ref
        The template; `None` if too few visits reach the patch.
    figures
        Metadata of the task.
    """

    tract: int
    patch: int
    band: str
    ref: DatasetRef | None
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For messages and tables."""
        return f"tract {self.tract} patch {self.patch} {self.band}"


@dataclass(frozen=True, slots=True)
class TemplateBuild:
    """Templates that were made, but that workers do not use yet.

    Attributes
    ----------
    instrument
        Short name.
    run
        Collection of the templates.
    patches
        By tract, patch and band.
    """

    instrument: str
    run: str
    patches: tuple[Patch, ...]

    @property
    def made(self) -> tuple[Patch, ...]:
        """Patches with a template."""
        return tuple(patch for patch in self.patches if patch.ref is not None)


def known_sky_maps(butler: Butler) -> list[str]:
    """Return the names of the sky maps of a repository."""
    try:
        refs = butler.query_datasets(
            "skyMap", collections=Collections("any").skymaps, find_first=False, explain=False, limit=None
        )
    except (MissingCollectionError, MissingDatasetTypeError):
        return []
    return sorted({str(ref.dataId["skymap"]) for ref in refs})


def choose_sky_map(butler: Butler, name: str | None = None) -> str:
    """Return the name of a sky map: the only one, if none is named.

    Raises
    ------
    RepositoryProblemError
        Raised if there is no such sky map, or several and none is named.
    """
    known = known_sky_maps(butler)
    if name is None and len(known) == 1:
        return known[0]
    if name in known:
        return str(name)
    if not known:
        raise RepositoryProblemError("The repository has no sky map: make one with --new-skymap NAME.")
    raise RepositoryProblemError(
        f"The repository has the sky maps {', '.join(known)}: "
        + ("choose one with --skymap." if name is None else f"{name!r} is none of them.")
    )


def make_sky_map(
    butler: Butler, name: str, candidates: Sequence[Candidate], patch_size: int = _PATCH_SIZE
) -> SkyMap:
    """Make a sky map around the chosen images.

    Parameters
    ----------
    butler
        Writeable.
    name
        Name of the sky map.
    candidates
        The images.
    patch_size
        Largest inner width of a patch, pixels. A small camera has smaller patches, which would be empty for
        the most part otherwise.

    Raises
    ------
    RepositoryProblemError
        Raised if the repository has a sky map of this name.
    """
    chosen = [each for each in candidates if not each.left_out and each.outline is not None]
    regions = [each.outline for each in chosen if each.outline is not None]
    if not regions:
        raise RepositoryProblemError("No image is chosen, so that there is no place for a sky map.")
    if list(butler.query_dimension_records("skymap", skymap=name, explain=False)):
        raise RepositoryProblemError(f"The repository has a sky map {name!r}: use it with --skymap.")
    scale = round(float(min(each.pixel_scale for each in chosen)), 3)
    # The simulation needs an extra, and few repositories lack a sky map.
    from prompt_processing.simulation.templates import sky_map_around

    sky_map = sky_map_around(name, regions, scale, _patch_size(regions, scale, patch_size))
    register_inputs(butler, "skyMap")
    put_sky_map(butler, Collections("any"), sky_map)
    return sky_map


def _patch_size(regions: Sequence[ConvexPolygon], scale: float, largest: int) -> int:
    """Return the width of one patch around all images, or else around one image, pixels."""
    vectors = np.array([list(vertex) for region in regions for vertex in region.getVertices()])
    middle = vectors.mean(axis=0)
    middle /= np.linalg.norm(middle)
    # Room for the dithers of later nights.
    pixels = 1.1 * 3600 / scale
    width = 2 * pixels * float(np.degrees(np.arccos(np.min(vectors @ middle))))
    if width > largest:
        radii = [region.getBoundingCircle().getOpeningAngle().asDegrees() for region in regions]
        width = 2 * pixels * max(radii)
    return int(np.clip(np.ceil(width), _LEAST_PATCH_SIZE, largest))


def build_templates(
    butler: Butler,
    instrument: str,
    candidates: Sequence[Candidate],
    sky_map: str,
    label: str,
    *,
    least: int = 3,
    run_task: TaskRunner = run_here,
    resume: bool = False,
) -> TemplateBuild:
    """Make the templates of all patches that the chosen images reach.

    Parameters
    ----------
    butler
        Writeable.
    instrument
        Short name.
    candidates
        The images; those left out are ignored.
    sky_map
        Name of the sky map.
    label
        Last part of the run's name, ``<instrument>/templates/<label>``.
    least
        Visits below which no patch is made.
    run_task
        Runs the task.
    resume
        Whether the run may exist, from an earlier attempt with the same images. After a failure, what was
        made is then kept for the next attempt.

    Returns
    -------
    build
        What was made. Workers do not use it before `publish`. If no patch has enough visits, the run is
        removed.

    Raises
    ------
    RepositoryProblemError
        Raised if the run exists and is not to be resumed, no image is chosen, or no image lies on the sky
        map. Nothing is left in the repository then.
    """
    collections = Collections(instrument)
    run = f"{collections.templates}/{label}"
    images = f"{run}/images"
    refs = [candidate.ref for candidate in candidates if not candidate.left_out]
    if not refs:
        raise RepositoryProblemError("All images are left out: relax the limits.")
    if _kind(butler, collections.templates) not in (None, CollectionType.CHAINED):
        raise RepositoryProblemError(
            f"{collections.templates} must be a chain of collections: rename the present collection."
        )
    if not resume:
        require_new(butler, instrument, label)
    register_inputs(butler, "template_coadd")
    butler.collections.register(run)
    try:
        # The images of a template are known by this collection, also to later runs.
        butler.collections.register(images, CollectionType.TAGGED)
        if not _all(butler, IMAGES, images):
            butler.registry.associate(images, refs)
        where = f"instrument = '{instrument}' AND skymap = '{sky_map}'"
        inputs = (images, collections.skymaps)
        wanted = TaskRun(CoaddTemplatesTask, LABEL, where, inputs, run, {"least": least})
        if not run_task(butler, wanted):
            raise RepositoryProblemError(f"No image of {images} lies on the sky map {sky_map}: name another.")
        patches = _patches(butler, run)
    except BaseException:
        if not resume:
            _discard(butler, run, images)
        raise
    if not any(patch.ref is not None for patch in patches):
        _discard(butler, run, images)
    return TemplateBuild(instrument, run, patches)


def require_new(butler: Butler, instrument: str, label: str) -> None:
    """Refuse the name of templates that exist already.

    Raises
    ------
    RepositoryProblemError
        Raised if their run or the collection of their images exists.
    """
    run = f"{Collections(instrument).templates}/{label}"
    if _kind(butler, run) is not None or _kind(butler, f"{run}/images") is not None:
        raise RepositoryProblemError(f"The run {run} exists already: choose another --name.")


def planned_task(instrument: str, candidates: Sequence[Candidate], sky_map: str) -> TaskRun:
    """Return the task that would make the templates of the chosen images, to count its quanta.

    It reads the images where they are, and all chosen visits completely.

    Raises
    ------
    RepositoryProblemError
        Raised if no image is chosen.
    """
    refs = [candidate.ref for candidate in candidates if not candidate.left_out]
    if not refs:
        raise RepositoryProblemError("All images are left out: relax the limits.")
    collections = Collections(instrument)
    visits = ", ".join(sorted({str(ref.dataId["visit"]) for ref in refs}))
    where = f"instrument = '{instrument}' AND skymap = '{sky_map}' AND visit IN ({visits})"
    inputs = (*sorted({ref.run for ref in refs}, reverse=True), collections.skymaps)
    return TaskRun(CoaddTemplatesTask, LABEL, where, inputs, f"{collections.templates}/planned")


def publish(butler: Butler, build: TemplateBuild) -> None:
    """Put the templates first in the search order, all at once.

    Parameters
    ----------
    butler
        Writeable.
    build
        The templates.
    """
    collections = Collections(build.instrument)
    add_to_chain(butler, collections.templates, [build.run])
    _LOG.info("Templates of %s are first in %s.", build.run, collections.templates)


def _patches(butler: Butler, run: str) -> tuple[Patch, ...]:
    made = {_place(ref): ref for ref in _all(butler, "template_coadd", run)}
    return tuple(
        Patch(*_place(ref), made.get(_place(ref)), butler.get(ref).to_dict().get(LABEL, {}))
        for ref in sorted(_all(butler, f"{LABEL}_metadata", run), key=_place)
    )


def _all(butler: Butler, name: str, run: str) -> list[DatasetRef]:
    return butler.query_datasets(name, collections=run, explain=False, limit=None)


def _place(ref: DatasetRef) -> tuple[int, int, str]:
    return int(ref.dataId["tract"]), int(ref.dataId["patch"]), str(ref.dataId["band"])


def _discard(butler: Butler, run: str, images: str) -> None:
    """Remove what an unfinished build has left, so that its name can be used again."""
    try:
        if _kind(butler, images) is not None:
            butler.collections.x_remove(images)
        butler.removeRuns([run])
    except Exception:  # noqa: BLE001 (the failure that led here is the one to report)
        _LOG.warning("The unfinished run %s remains; no worker uses it.", run, exc_info=True)


def _kind(butler: Butler, collection: str) -> CollectionType | None:
    try:
        return butler.collections.get_info(collection).type
    except MissingCollectionError:
        return None
