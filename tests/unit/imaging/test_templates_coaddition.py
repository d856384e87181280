"""Coadds of dithered exposures are as deep as their variances say, and show only what stays."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from prompt_processing.images import Exposure, Mask, SkyMap, Tract
from prompt_processing.imaging.errors import NoTemplateOverlapError
from prompt_processing.imaging.templates.coaddition import Coaddition, coadd_layers
from prompt_processing.imaging.templates.layers import Layer, warp_layer
from prompt_processing.imaging.templates.stars import template_stars
from prompt_processing.simulation.conditions import draw_conditions
from prompt_processing.simulation.pair import expose, tangent_wcs
from prompt_processing.simulation.scene import Frame, truth_of
from prompt_processing.simulation.sky import SkyCatalogue

RA, DEC = 150.0, 2.0
SEEING = (0.7, 0.8, 0.9, 0.75, 0.85)
MAP = SkyMap("map", 0.2, 400, 40, 1, (Tract(0, RA, DEC),))
WCS, SHAPE = MAP.patch_wcs(0, 0), MAP.patch_shape
SKY = SkyCatalogue(5)


def exposures(sky_levels: Sequence[float] = (0.0,) * len(SEEING)) -> list[Exposure]:
    """Return exposures of the static sky that are dithered, rotated and of different seeing and depth."""
    copies = deepcopy(simulated())
    for exposure, level in zip(copies, sky_levels, strict=True):
        exposure.image += np.float32(level)
    return copies


@cache
def simulated() -> list[Exposure]:
    made = []
    for number, seeing in enumerate(SEEING):
        rng = np.random.default_rng([7, number])
        conditions = draw_conditions(rng, "LSSTCam", "r", 15.0 + 10 * number, seeing)
        offset = rng.uniform(-3, 3, 2) / 3600
        wcs = tangent_wcs((560, 580), RA + offset[0], DEC + offset[1], 20.0 * number, 0.2)
        frame = Frame(wcs, (560, 580), (RA, DEC))
        made.append(expose(truth_of(SKY, frame, "r", None), frame, conditions, rng, 130_000.0))
    return made


def layers_of(images: Sequence[Exposure]) -> list[Layer]:
    layers = [warp_layer(image, WCS, SHAPE, number) for number, image in enumerate(images)]
    return [layer for layer in layers if layer is not None]


@pytest.fixture(scope="module")
def static() -> Coaddition:
    return coadd_layers(layers_of(exposures()), WCS, SHAPE)


def inner(plane: np.ndarray) -> np.ndarray:
    return plane[100:-100, 100:-100]


def test_depth_is_that_of_the_sum_of_inverse_variances(static: Coaddition) -> None:
    expected = 1.0 / sum(1.0 / float(np.median(image.variance)) for image in exposures())
    assert np.median(inner(static.coadd.variance)) == pytest.approx(expected, rel=0.02)
    assert np.median(inner(static.epochs)) == len(SEEING)
    # Per unit area: neighbouring pixels of a warped image are correlated.
    size = 7
    blocks = ndimage.uniform_filter(np.nan_to_num(static.coadd.image), size)[100:-100:size, 100:-100:size]
    middle = np.median(blocks)
    measured = (1.4826 * np.median(np.abs(blocks - middle)) * size) ** 2
    assert measured == pytest.approx(expected, rel=0.25)


def test_stars_are_within_20_mas_and_1_per_cent_of_the_truth(static: Coaddition) -> None:
    frame = Frame(WCS, SHAPE, (RA, DEC))
    truth = truth_of(SKY, frame, "r", None)
    stars = template_stars(static.coadd)
    # Noise moves fainter ones by more than the warp may.
    stars = stars[stars["flux"] > 40 * stars["fluxErr"]]
    offsets, ratios = [], []
    for star in stars:
        east = (np.asarray(truth["ra"]) - star["ra"]) * np.cos(np.radians(DEC)) * 3.6e6
        north = (np.asarray(truth["dec"]) - star["dec"]) * 3.6e6
        near = np.flatnonzero(np.hypot(east, north) < 300)
        if len(near) == 1:
            offsets.append((east[near[0]], north[near[0]]))
            ratios.append(star["flux"] / truth["template_flux"][near[0]])
    assert len(offsets) >= 5
    assert np.all(np.abs(np.median(offsets, axis=0)) < 5)
    assert np.sqrt(np.mean(np.square(offsets))) < 20
    assert np.median(ratios) == pytest.approx(1.0, abs=0.01)


def test_constant_stars_are_not_rejected_for_their_seeing(static: Coaddition) -> None:
    for layer in static.layers:
        assert layer.rejected < 0.002 * layer.image.size
    bright = static.coadd.image > 50 * np.sqrt(static.coadd.variance)
    for layer in static.layers:
        bright[layer.box] &= ~layer.saturated
    # Not all exposures reach the patch's corners.
    bright[:60], bright[-60:] = False, False
    assert np.count_nonzero(bright) > 50
    assert np.mean(static.epochs[bright] == len(SEEING)) > 0.95


def test_what_moves_or_flashes_is_rejected(static: Coaddition) -> None:
    images = exposures()
    x, y = 210.0, 260.0
    places = []
    for number, image in enumerate(images):
        # An asteroid in all exposures, elsewhere in each; a flash on one; a satellite on another.
        places.append((x + 12.0 * number, y + 5.0 * number))
        add(image, *places[-1], snr=40.0)
    add(images[1], 330.0, 180.0, snr=300.0)
    places.append((330.0, 180.0))
    column, row = warped(images[2], 240.0, 240.0)
    images[2].image[int(row) - 1 : int(row) + 2, :] += 20 * np.sqrt(np.median(images[2].variance))
    found = coadd_layers(layers_of(images), WCS, SHAPE)
    noise = np.sqrt(found.coadd.variance)
    for column, row in places:
        part = np.s_[int(row) - 8 : int(row) + 9, int(column) - 8 : int(column) + 9]
        left = (found.coadd.image - static.coadd.image)[part]
        # Summed over the source, in units of the noise of the sum.
        assert abs(left.sum()) < 5 * np.sqrt(np.sum(noise[part] ** 2)), (column, row)
    difference = inner((found.coadd.image - static.coadd.image) / noise)
    assert np.mean(np.abs(difference) > 3) < 0.003


def test_of_two_exposures_the_one_without_the_flash_is_kept() -> None:
    images = exposures()[:2]
    expected = coadd_layers(layers_of(images), WCS, SHAPE).coadd.image[260, 210]
    add(images[0], 210.0, 260.0, snr=200.0)
    found = coadd_layers(layers_of(images), WCS, SHAPE)
    assert found.epochs[260, 210] == 1
    assert abs(found.coadd.image[260, 210] - expected) < 5 * np.sqrt(found.coadd.variance[260, 210])


def test_skies_are_matched() -> None:
    noise = np.sqrt(np.median(exposures()[0].variance))
    levels = [0.0, 3 * noise, -2 * noise, noise, 0.0]
    layers = layers_of(exposures(levels))
    coadd_layers(layers, WCS, SHAPE)
    left = np.array([layer.sky_offset for layer in layers]) - levels
    assert np.ptp(left) < 0.1 * noise
    assert all(layer.rejected < 0.01 * layer.image.size for layer in layers)


def test_pixels_of_no_exposure_are_no_data_and_saturated_ones_are_flagged() -> None:
    images = exposures()
    for image in images:
        column, row = (round(float(each)) for each in warped(image, 240.0, 240.0))
        image.mask[row - 6 : row + 7, column - 6 : column + 7] |= int(Mask.SAT)
        column, row = (round(float(each)) for each in warped(image, 150.0, 300.0))
        image.mask[row - 6 : row + 7, column - 6 : column + 7] |= int(Mask.BAD)
    found = coadd_layers(layers_of(images), WCS, SHAPE)
    assert found.coadd.has(Mask.SAT)[240, 240]
    assert np.isfinite(found.coadd.image[240, 240])
    assert found.coadd.has(Mask.NO_DATA)[300, 150]
    assert np.isnan(found.coadd.image[300, 150])
    assert found.summary["holes"] > 20


def test_no_exposure_is_an_error_and_one_off_the_patch_is_no_layer() -> None:
    with pytest.raises(NoTemplateOverlapError):
        coadd_layers([], WCS, SHAPE)
    far = exposures()[0]
    far.wcs = tangent_wcs(far.shape, RA + 1.0, DEC, 0.0, 0.2)
    assert warp_layer(far, WCS, SHAPE) is None


def warped(image: Exposure, x: float, y: float) -> tuple[float, float]:
    """Return the pixel of an exposure at a pixel of the patch."""
    ra, dec = WCS.all_pix2world(x, y, 0)
    column, row = image.wcs.all_world2pix(ra, dec, 0)
    return float(column), float(row)


def add(image: Exposure, x: float, y: float, snr: float) -> None:
    """Add a point source at a pixel of the patch."""
    stamp, x0, y0 = image.psf.stamp_at(*warped(image, x, y))
    rows, columns = slice(y0, y0 + len(stamp)), slice(x0, x0 + len(stamp))
    noise = np.sqrt(np.median(image.variance) / np.sum(stamp**2))
    image.image[rows, columns] += (snr * noise * stamp).astype(np.float32)
