"""What warping templates must keep."""

import numpy as np
import pytest
from scipy import ndimage

from prompt_processing.images import Exposure, Mask
from prompt_processing.images.psf import Psf
from prompt_processing.imaging.errors import NoTemplateOverlapError
from prompt_processing.imaging.psf_flux import forced_psf_flux
from prompt_processing.imaging.templates.spline_filter import filter_columns, filter_rows
from prompt_processing.imaging.templates.warp import warp_template, warped_noise_correlation


def part_of(exposure: Exposure, rows: slice, columns: slice) -> Exposure:
    psf = exposure.psf
    assert psf is not None
    assert exposure.wcs is not None
    return Exposure(
        exposure.image[rows, columns].copy(),
        exposure.mask[rows, columns].copy(),
        exposure.variance[rows, columns].copy(),
        exposure.wcs.slice((rows, columns)),
        Psf(psf.coefficients, psf.order, psf.x_centre - columns.start, psf.y_centre - rows.start, psf.scale),
        exposure.photo_calib,
    )


@pytest.mark.parametrize("rotation", [0.0, 37.0, 180.0])
def test_stars_keep_flux_and_place(star_image, rotation):
    patch = star_image((300, 320), [(150.3, 140.8, 1e4), (200.0, 180.5, 3e3)], noise=0.0)
    target = star_image((200, 220), [], noise=0.0, rotation=rotation)
    template = warp_template([patch], target.wcs, target.shape)
    ra, dec = patch.wcs.wcs_pix2world([150.3, 200.0], [140.8, 180.5], 0)
    x, y = target.wcs.wcs_world2pix(ra, dec, 0)
    flux, _, _ = forced_psf_flux(template, x, y)
    assert flux == pytest.approx([1e4, 3e3], rel=2e-3)


def test_flux_per_pixel_follows_the_pixels_area(star_image):
    patch = star_image((300, 300), [(150, 150, 1e4)], noise=0.0)
    wcs = patch.wcs.deepcopy()
    wcs.wcs.cd *= 1.25
    template = warp_template([patch], wcs, (240, 240))
    assert np.nansum(template.image) == pytest.approx(1e4, rel=3e-3)
    assert template.psf.fwhm_at() == pytest.approx(patch.psf.fwhm_at() / 1.25, rel=0.01)
    assert np.nanmedian(template.variance) == pytest.approx(1.25**4 * np.median(patch.variance), rel=1e-3)


def test_patches_of_one_coadd_join_without_a_seam(star_image):
    coadd = star_image((260, 400), [(200.0, 130.0, 5e4)], seed=3)
    target = star_image((160, 300), [], rotation=20.0)
    whole = warp_template([coadd], target.wcs, target.shape)
    halves = [part_of(coadd, slice(0, 260), slice(0, 240)), part_of(coadd, slice(0, 260), slice(160, 400))]
    joined = warp_template(halves, target.wcs, target.shape)
    both = np.isfinite(whole.image) & np.isfinite(joined.image)
    assert both.mean() > 0.9
    assert np.abs(whole.image - joined.image)[both].max() < 0.2


def test_part_of_a_patch_gives_the_same_numbers_as_the_whole(star_image):
    patch = star_image((600, 700), [(350.0, 300.0, 5e4)], seed=4)
    target = star_image((160, 200), [], rotation=20.0)
    target.wcs.wcs.crval = patch.wcs.wcs_pix2world([[371.37, 305.73]], 0)[0]
    whole = warp_template([patch], target.wcs, target.shape)
    some = warp_template([patch.part(slice(67, 571), slice(103, 655))], target.wcs, target.shape)
    assert whole.metadata["COVERAGE"] == 1.0
    assert whole.metadata == some.metadata
    assert np.array_equal(whole.image, some.image)
    assert np.array_equal(whole.variance, some.variance)
    assert np.array_equal(whole.psf.coefficients, some.psf.coefficients)


def test_patches_behind_a_full_image_are_not_asked_for(star_image):
    target = star_image((160, 300), [], rotation=20.0)
    front = star_image((400, 500), [(250.0, 200.0, 5e4)], seed=3)

    def patches():
        yield front
        raise AssertionError("The image is full.")

    template = warp_template(patches(), target.wcs, target.shape)
    assert template.metadata["COVERAGE"] == 1.0
    assert template.metadata["NPATCHES"] == 1


def test_a_second_tract_fills_the_holes_of_the_first(star_image):
    target = star_image((160, 300), [], rotation=20.0)
    front, behind = (star_image((400, 500), [(250.0, 200.0, 5e4)], seed=seed) for seed in (3, 4))
    alone, other = (warp_template([patch], target.wcs, target.shape) for patch in (front, behind))
    front.image[180:190, 200:210] = np.nan
    template = warp_template([front, behind], target.wcs, target.shape)
    assert template.metadata["COVERAGE"] == 1.0
    filled = template.image == other.image
    assert 100 < filled.sum() < 600
    # The spline around the filled hole differs a little, beyond the margin that is left out.
    assert np.abs(template.image - alone.image)[~filled].max() < 0.3


def test_where_no_patch_reaches_is_no_data(star_image):
    patch = star_image((300, 150), [])
    patch.image[100:110, 50:60] = np.nan
    target = star_image((300, 300), [])
    template = warp_template([patch], target.wcs, target.shape)
    missing = (template.mask & int(Mask.NO_DATA)) != 0
    assert np.array_equal(missing, np.isnan(template.image))
    assert 0.4 < template.metadata["COVERAGE"] < 0.5
    assert missing[105, 130]


def test_patch_elsewhere_on_the_sky_is_an_error(star_image):
    patch, target = star_image((100, 100), []), star_image((100, 100), [])
    patch.wcs.wcs.crval = [31.0, -20.0]
    with pytest.raises(NoTemplateOverlapError, match="patches=1"):
        warp_template([patch], target.wcs, target.shape)


def test_noise_correlation_is_that_of_warped_noise(star_image):
    patch = star_image((900, 900), [], seed=5)
    target = star_image((500, 500), [], rotation=31.0)
    warped = warp_template([patch], target.wcs, target.shape)
    keys = ("WARP_XX", "WARP_XY", "WARP_YX", "WARP_YY")
    expected = warped_noise_correlation(tuple(warped.metadata[key] for key in keys))
    image = warped.image
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2)):
        seen = np.mean(image[: 500 - dy, : 500 - dx] * image[dy:, dx:])
        assert seen == pytest.approx(expected[6 + dy, 6 + dx], abs=0.02)


def test_spline_coefficients_are_those_of_scipy():
    image = np.random.default_rng(1).normal(size=(70, 90)).astype(np.float32)
    expected = ndimage.spline_filter(image.astype(float), 3, mode="mirror")
    filter_rows(image, 0, 70)
    filter_columns(image, 0, 90)
    assert np.allclose(image, expected, atol=1e-5)
