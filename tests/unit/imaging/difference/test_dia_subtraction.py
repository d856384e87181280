"""What a difference image must be: white noise of the right size, and the sources that changed."""

import numpy as np
import pytest

from prompt_processing.images import UNUSABLE, Exposure, Mask
from prompt_processing.imaging.difference.options import SubtractionOptions
from prompt_processing.imaging.difference.subtraction import subtract
from prompt_processing.imaging.errors import BadKernelError, TooFewKernelStarsError
from prompt_processing.imaging.psf_flux import forced_psf_flux

SEEINGS = [(0.95, 0.7), (0.7, 0.9), (0.8, 0.8)]


def robust_sigma(values):
    low, high = np.percentile(values, [15.865, 84.135])
    return 0.5 * (high - low)


def copy_of(exposure):
    return Exposure(
        exposure.image.copy(), exposure.mask.copy(), exposure.variance.copy(),
        exposure.wcs, exposure.psf, exposure.photo_calib, exposure.visit_info,
    )  # fmt: skip


@pytest.mark.parametrize("seeing", SEEINGS)
def test_normalised_residual_is_unit_noise_on_sky_and_on_stars(subtracted, seeing):
    case = subtracted(*seeing)
    difference = case.result.difference
    normal = difference.image / np.sqrt(difference.variance)
    usable = (difference.mask & int(UNUSABLE | Mask.SAT_TEMPLATE)) == 0
    sky = usable & (np.abs(case.pair.science.image) < 3 * np.sqrt(case.pair.science.variance))
    assert robust_sigma(normal[sky]) == pytest.approx(1.0, abs=0.03)
    on_stars = []
    for x, y in zip(np.rint(case.stars["x"]).astype(int), np.rint(case.stars["y"]).astype(int), strict=True):
        part = np.s_[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        on_stars.append(normal[part][usable[part]])
    assert robust_sigma(np.concatenate(on_stars)) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("seeing", SEEINGS)
def test_noise_is_white(subtracted, seeing):
    difference = subtracted(*seeing).result.difference
    usable = (difference.mask & int(UNUSABLE | Mask.SAT_TEMPLATE)) == 0
    normal = np.where(usable, np.clip(difference.image / np.sqrt(difference.variance), -4, 4), 0)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2), (3, 0)):
        pairs = normal[: 900 - dy, : 900 - dx] * normal[dy:, dx:]
        assert abs(np.mean(pairs[20:-20, 20:-20])) < 0.04


@pytest.mark.parametrize("seeing", SEEINGS)
def test_transients_keep_their_flux(subtracted, seeing):
    case = subtracted(*seeing)
    truth = case.pair.truth
    still = np.hypot(truth["trail_x"], truth["trail_y"]) < 0.5
    chosen = truth[(np.abs(truth["snr"]) > 15) & still]
    flux, err, flags = forced_psf_flux(case.result.difference, chosen["x"], chosen["y"])
    good = np.isfinite(flux) & ((flags & int(UNUSABLE | Mask.SAT_TEMPLATE)) == 0)
    assert good.sum() >= 4
    pull = (flux - chosen["delta_flux"])[good] / np.hypot(err, 0.02 * chosen["delta_flux"])[good]
    assert abs(np.median(pull)) < 1.2
    assert np.median(np.abs(pull)) < 1.2


def test_the_sharper_image_is_convolved(subtracted):
    assert not subtracted(0.95, 0.7).result.kernel.convolves_science
    assert subtracted(0.7, 0.9).result.kernel.convolves_science


def test_missing_template_stays_missing_and_the_rest_is_subtracted(subtracted):
    case = subtracted(0.95, 0.7)
    template = copy_of(case.pair.template)
    template.image[:, :180] = np.nan
    template.variance[:, :180] = np.nan
    template.mask[:, :180] |= int(Mask.NO_DATA)
    difference = subtract(case.pair.science, template, case.stars).difference
    assert np.isnan(difference.image[:, :180]).all()
    assert ((difference.mask[:, :180] & int(Mask.NO_DATA)) != 0).all()
    normal = (difference.image / np.sqrt(difference.variance))[20:-20, 220:-20]
    assert robust_sigma(normal) == pytest.approx(1.0, abs=0.04)


def test_without_a_star_catalogue_bright_pixels_do(subtracted):
    case = subtracted(0.95, 0.7)
    result = subtract(case.pair.science, case.pair.template, None)
    assert result.metrics["kernelSum"] == pytest.approx(case.result.metrics["kernelSum"], abs=0.02)


def test_images_without_stars_are_refused(star_image):
    empty = star_image((300, 300), [])
    with pytest.raises(TooFewKernelStarsError):
        subtract(empty, star_image((300, 300), [], seed=2), None)


def test_psf_models_match_two_images_of_one_star(star_image):
    star, new = (96.0, 96.0, 40_000.0), (200.0, 160.0, 3_000.0)
    science, template = star_image((300, 300), [star, new], 2.2), star_image((300, 300), [star], 1.7, seed=2)
    with pytest.raises(TooFewKernelStarsError):
        subtract(science, template, None)
    result = subtract(science, template, None, SubtractionOptions(from_psfs=True))
    assert result.metrics["kernelFromPsfs"]
    normal = result.difference.image / np.sqrt(result.difference.variance)
    assert robust_sigma(normal) == pytest.approx(1.0, abs=0.03)
    assert np.abs(normal[94:99, 94:99]).max() < 6
    flux, err, _ = forced_psf_flux(result.difference, np.array([200.0]), np.array([160.0]))
    assert flux[0] == pytest.approx(3_000, abs=4 * err[0])


def test_disagreeing_flux_scales_are_refused(subtracted):
    case = subtracted(0.95, 0.7)
    template = copy_of(case.pair.template)
    template.image *= 10
    template.variance *= 100
    with pytest.raises(BadKernelError, match="ratio"):
        subtract(case.pair.science, template, case.stars)


def test_shapes_must_agree(star_image):
    with pytest.raises(ValueError, match="template"):
        subtract(star_image((100, 100), []), star_image((100, 90), []), None)


def test_saturated_star_is_flagged_beyond_its_core(subtracted):
    case = subtracted(0.95, 0.7)
    saturated = case.pair.science.has(Mask.SAT)
    assert saturated.any(), "the field of seed 11 has one"
    assert ((case.result.difference.mask & int(Mask.SAT)) != 0).sum() > 4 * saturated.sum()


def test_pinhole_of_the_template_costs_its_rim_and_a_wide_hole_what_the_kernel_reaches(subtracted):
    case = subtracted(0.95, 0.7)
    template = copy_of(case.pair.template)
    template.mask[400, 400] |= int(Mask.NO_DATA)
    template.image[400, 400] = template.variance[400, 400] = np.nan
    template.mask[600:640, 600:640] |= int(Mask.NO_DATA)
    template.image[600:640, 600:640] = template.variance[600:640, 600:640] = np.nan
    edge = subtract(case.pair.science, template, case.stars).difference.has(Mask.EDGE)
    assert edge[399:402, 399:402].all()
    assert not edge[400, 404]
    assert edge[620, 640:644].all()
    assert edge[600:640, 600:640].all()
