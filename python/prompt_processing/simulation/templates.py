"""Template coadds on the patches of a sky map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from lsst.sphgeom import ConvexPolygon
from numpy.typing import NDArray

from prompt_processing.domain.sky_vectors import unit_vectors
from prompt_processing.images import Exposure, Mask, SkyMap, Tract
from prompt_processing.instruments import Camera, Detector, detector_region

from .conditions import ObservingConditions
from .pair import TemplateNoise, coadd
from .planning import PlannedExposure
from .scene import Frame
from .sky import SkyCatalogue

PADDING_ARCSEC = 45.0
"""Padding of templates beyond the detectors, more than the preload's padding plus any pointing error."""

TEMPLATE_READ_NOISE = 6.0
TEMPLATE_SATURATION = 130_000.0

_MOST_PATCHES_PER_SIDE = 14

_SAME_FIELD = np.radians(0.03)
"""Maximum distance of a detector's centres in dithered exposures."""


@dataclass(frozen=True, slots=True)
class PatchArea:
    """Part of a patch with data.

    Attributes
    ----------
    tract, patch : `int`
    x0, y0, width, height
        Box in the patch image, pixels.
    """

    tract: int
    patch: int
    x0: int
    y0: int
    width: int
    height: int


def footprints(
    camera: Camera, detectors: Sequence[Detector], exposures: Sequence[PlannedExposure]
) -> list[ConvexPolygon]:
    """Return the padded outline of each detector in each exposure."""
    return [
        detector_region(
            camera,
            detector,
            planned.ra,
            planned.dec,
            planned.rotation,
            padding_arcsec=PADDING_ARCSEC,
        )
        for planned in exposures
        for detector in detectors
    ]


def sky_map_around(
    name: str, regions: Sequence[ConvexPolygon], pixel_scale: float, patch_size: int
) -> SkyMap:
    """Make a sky map of one tract around some regions, or of one tract each if they are far apart.

    Parameters
    ----------
    name
        Name of the sky map.
    regions : sequence of `~lsst.sphgeom.ConvexPolygon`
    pixel_scale
        Arcsec.
    patch_size
        Inner width of the patches, pixels.
    """
    centres = np.array([list(region.getCentroid()) for region in regions])
    middle = centres.mean(axis=0)
    groups = {0: list(range(len(regions)))}
    middles = [middle / np.linalg.norm(middle)]
    if _patches_per_side(regions, middles[0], pixel_scale, patch_size) > _MOST_PATCHES_PER_SIDE:
        groups, middles = {}, []
        for index, centre in enumerate(centres):
            distances = [np.arccos(np.clip(centre @ other, -1, 1)) for other in middles]
            near = int(np.argmin(distances)) if distances else -1
            if near < 0 or distances[near] > _SAME_FIELD:
                near = len(middles)
                middles.append(centre)
            groups.setdefault(near, []).append(index)
    side = max(
        _patches_per_side([regions[i] for i in members], middles[group], pixel_scale, patch_size)
        for group, members in groups.items()
    )
    tracts = []
    for number, (x, y, z) in enumerate(middles):
        ra, dec = float(np.degrees(np.arctan2(y, x))) % 360, float(np.degrees(np.arcsin(z)))
        tracts.append(Tract(number, ra, dec))
    return SkyMap(
        name=name,
        pixel_scale=pixel_scale,
        patch_size=patch_size,
        patch_overlap=max(patch_size // 20, 20),
        patches_per_side=side,
        tracts=tuple(tracts),
    )


def areas_to_fill(sky_map: SkyMap, regions: Sequence[ConvexPolygon]) -> list[PatchArea]:
    """Find the boxes of patches that some regions need."""
    wanted: dict[tuple[int, int], list[ConvexPolygon]] = {}
    for region in regions:
        for key in sky_map.find(region):
            wanted.setdefault(key, []).append(region)
    areas = []
    for (tract, patch), over in sorted(wanted.items()):
        height, width = sky_map.patch_shape
        step = max(width // 60, 1)
        y, x = (np.unique(np.append(np.arange(0, n, step), n - 1)) for n in (height, width))
        grid_x, grid_y = np.meshgrid(x, y)
        ra, dec = sky_map.patch_wcs(tract, patch).all_pix2world(grid_x.ravel(), grid_y.ravel(), 0)
        vectors = unit_vectors(ra, dec)
        inside = np.any([_inside(region, vectors) for region in over], axis=0).reshape(grid_x.shape)
        if not inside.any():
            continue
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        x0, x1 = max(int(x[columns[0]]) - step, 0), min(int(x[columns[-1]]) + step + 1, width)
        y0, y1 = max(int(y[rows[0]]) - step, 0), min(int(y[rows[-1]]) + step + 1, height)
        areas.append(PatchArea(tract, patch, x0, y0, x1 - x0, y1 - y0))
    return areas


def template_coadd(
    sky: SkyCatalogue,
    sky_map: SkyMap,
    area: PatchArea,
    conditions: Sequence[ObservingConditions],
    seed: int,
) -> Exposure:
    """Make the template of a patch.

    Parameters
    ----------
    sky : `SkyCatalogue`
    sky_map : `~prompt_processing.images.SkyMap`
    area
        Observed part of the patch; the rest is NaN and ``NO_DATA``.
    conditions
        Conditions of each exposure; the same for all patches.
    seed
        Seed of the noise.

    Returns
    -------
    coadd
        nJy on the patch's pixels.
    """
    rng = np.random.default_rng([seed, 40, area.tract, area.patch])
    tract = sky_map.tract(area.tract)
    wcs = sky_map.patch_wcs(area.tract, area.patch)
    rows, columns = slice(area.y0, area.y0 + area.height), slice(area.x0, area.x0 + area.width)
    frame = Frame(wcs.slice((rows, columns)), (area.height, area.width), (tract.ra, tract.dec))
    observed = coadd(sky, frame, conditions, rng, TEMPLATE_SATURATION)
    shape = sky_map.patch_shape
    filled = Exposure(
        np.full(shape, np.nan, np.float32),
        np.full(shape, int(Mask.NO_DATA), np.int32),
        np.full(shape, np.nan, np.float32),
        wcs=wcs,
        photo_calib=observed.photo_calib,
        metadata={"BAND": conditions[0].band, "NEXPOSE": len(conditions)},
    )
    filled.image[rows, columns] = observed.image
    filled.mask[rows, columns] = observed.mask
    filled.variance[rows, columns] = observed.variance
    if observed.psf is not None:
        psf = observed.psf
        filled.psf = replace(psf, x_centre=psf.x_centre + area.x0, y_centre=psf.y_centre + area.y0)
    return filled


def expected_noise(conditions: Sequence[ObservingConditions], pixel_arcsec: float) -> TemplateNoise:
    """Return the noise of a coadd."""
    variances = [
        (each.sky_electrons(pixel_arcsec) + TEMPLATE_READ_NOISE**2) / each.electrons_per_njy**2
        for each in conditions
    ]
    return TemplateNoise.of_coadd(float(np.mean(variances) / len(conditions)), conditions)


def _patches_per_side(
    regions: Sequence[ConvexPolygon], middle: NDArray[np.float64], pixel_scale: float, patch_size: int
) -> int:
    """Return the number of patches per side that a tract at a direction needs to hold the regions."""
    cosines = [middle @ np.array(list(v)) for region in regions for v in region.getVertices()]
    reach = 3600 * np.degrees(np.arccos(min(cosines)))
    return max(int(np.ceil(2 * reach / (pixel_scale * patch_size))), 1)


def _inside(region: ConvexPolygon, vectors: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which unit vectors (n, 3) lie in a convex polygon: those on the inner side of every edge."""
    corners = np.array([list(v) for v in region.getVertices()])
    normals = np.cross(corners, np.roll(corners, -1, axis=0))
    return np.all(vectors @ normals.T >= 0, axis=1)
