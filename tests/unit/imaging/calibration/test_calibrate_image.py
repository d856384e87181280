import numpy as np
import pytest
from astropy.table import Table

from prompt_processing.images import Exposure, Mask
from prompt_processing.images.exposure import Loan
from prompt_processing.imaging.calibration.calibrate import calibrate_image
from prompt_processing.imaging.errors import (
    BadBackgroundError,
    DetectionError,
    NoReferenceStarsError,
    NumericalError,
    TooFewStarsError,
)


def run(field, **kwargs):
    return calibrate_image([field.exposure()], field.reference(), "r", **kwargs)


@pytest.fixture
def wrong_pointing(star_field):
    return star_field(pointing_error=(8.0, -12.0), rotation_error=0.2, n_stars=220, variation=0.04)


def test_image_is_on_the_catalogue_s_flux_scale(wrong_pointing) -> None:
    field = wrong_pointing
    result = run(field)
    assert 10 ** (-0.4 * (result.photo_calib.zero_point - 31.4)) == pytest.approx(2.0, rel=0.005)
    matched = result.stars[(result.stars["ref_id"] >= 0) & (result.stars["snr"] > 50)]
    truth = field.flux[matched["ref_id"] - 1000] * field.njy_per_electron
    assert np.median(matched["psfFlux"] / truth) == pytest.approx(1.0, abs=0.005)
    assert len(matched) > 120
    assert result.exposure.photo_calib.njy_per_unit == 1.0
    assert result.exposure.metadata["BUNIT"] == "nJy"


def test_wcs_is_right_to_a_few_milliarcseconds(wrong_pointing) -> None:
    field = wrong_pointing
    result = run(field)
    x, y = np.random.default_rng(0).uniform(20, 680, (2, 100))
    ra, dec = result.exposure.wcs.all_pix2world(x, y, 0)
    true_ra, true_dec = field.true_wcs().all_pix2world(x, y, 0)
    offsets = np.hypot((ra - true_ra) * np.cos(np.radians(dec)), dec - true_dec) * 3.6e6
    assert np.sqrt(np.mean(offsets**2)) < 10
    assert result.summary["astrometric_rms_mas"] < 40
    assert result.summary["pointing_offset_arcsec"] == pytest.approx(np.hypot(8, 12), abs=1)


def test_background_is_removed_and_kept(star_field) -> None:
    field = star_field()
    result = run(field)
    away = (result.exposure.mask & int(Mask.DETECTED)) == 0
    noise = np.sqrt(np.median(result.exposure.variance))
    assert abs(np.median(result.exposure.image[away])) < 0.05 * noise
    assert np.median(result.background.image()) == pytest.approx(field.sky * 2.0, rel=0.01)
    assert result.summary["background_electrons"] == pytest.approx(field.sky, rel=0.01)


def test_pixels_scatter_by_the_variance(star_field) -> None:
    result = run(star_field())
    away = (result.exposure.mask & int(Mask.DETECTED)) == 0
    pull = result.exposure.image[away] / np.sqrt(result.exposure.variance[away])
    assert 1.4826 * np.median(np.abs(pull)) == pytest.approx(1.0, abs=0.03)


def test_summary_tells_the_seeing_and_what_was_used(star_field) -> None:
    field = star_field()
    summary = run(field).summary
    assert summary["psf_fwhm_pixels"] == pytest.approx(field.fwhm, rel=0.02)
    assert summary["seeing_fwhm_arcsec"] == pytest.approx(field.fwhm * 0.2, rel=0.03)
    assert summary["n_psf_stars"] > 60
    assert summary["n_astrometry_stars"] > 80
    assert all(isinstance(value, int | float) for value in summary.values())


def test_star_table_has_what_the_subtraction_needs(star_field) -> None:
    stars = run(star_field()).stars
    for name in (
        *("id", "x", "y", "xErr", "yErr", "ra", "dec", "psfFlux", "psfFluxErr", "apFlux", "apFluxErr", "snr"),
        *("extendedness", "saturated", "edge", "cr", "psf_used", "astrom_used", "photom_used", "ref_id"),
    ):
        assert name in stars.colnames
    assert len(np.unique(stars["id"])) == len(stars)
    assert stars["psfFlux"].unit == "nJy"
    assert stars["psf_used"].sum() > 60


def test_galaxy_is_extended_and_not_in_the_psf(star_field) -> None:
    field = star_field(n_stars=100)
    exposure = field.exposure()
    rows, columns = np.mgrid[:700, :700]
    exposure.image += 2e5 / (2 * np.pi * 16) * np.exp(-((columns - 351) ** 2 + (rows - 349) ** 2) / 32)
    stars = calibrate_image([exposure], field.reference(), "r").stars
    galaxy = stars[np.argmin(np.hypot(stars["x"] - 351, stars["y"] - 349))]
    assert galaxy["extendedness"] == 1
    assert not galaxy["psf_used"]
    bright = stars[(stars["snr"] > 50) & (stars["ref_id"] >= 0) & ~stars["edge"]]
    assert np.mean(bright["extendedness"]) < 0.06


def test_input_stays_as_it_was(star_field) -> None:
    field = star_field()
    exposure = field.exposure()
    before = exposure.image.copy(), exposure.mask.copy(), exposure.variance.copy()
    calibrate_image([exposure], field.reference(), "r")
    assert np.array_equal(exposure.image, before[0])
    assert np.array_equal(exposure.mask, before[1])
    assert np.array_equal(exposure.variance, before[2])
    assert exposure.psf is None


def hit_exposure(field) -> Exposure:
    """Return an image with two cosmic rays, a saturated pixel and one without data."""
    exposure = field.exposure()
    exposure.image[100:103, 200:230] += 5000
    exposure.image[410, 300:304] += 900
    exposure.mask[50, 50] |= int(Mask.SAT)
    exposure.image[60, 61], exposure.mask[60, 61] = np.nan, int(Mask.NO_DATA)
    return exposure


def test_borrowed_planes_become_the_calibrated_image_and_can_be_had_back(star_field) -> None:
    field = star_field()
    exposure, twin = hit_exposure(field), hit_exposure(field)
    exposure.loan = Loan()
    assert exposure.original() is exposure
    on_loan = calibrate_image([exposure], field.reference(), "r")
    on_copies = calibrate_image([twin], field.reference(), "r")
    assert on_loan.summary == on_copies.summary
    assert on_loan.summary["n_cosmic_ray_pixels"] > 80
    for name in ("image", "mask", "variance"):
        assert getattr(on_loan.exposure, name) is getattr(exposure, name)
        assert np.array_equal(getattr(on_loan.exposure, name), getattr(on_copies.exposure, name), True)
    back = exposure.original()
    assert np.array_equal(back.mask, twin.mask)
    np.testing.assert_allclose(back.image, twin.image, rtol=2e-6, atol=1e-3)
    np.testing.assert_allclose(back.variance, twin.variance, rtol=1e-6)
    assert back.metadata == twin.metadata
    assert back.photo_calib is None
    # Another calibration begins with what the image was.
    again = calibrate_image([exposure], field.reference(), "r").summary
    assert again["zero_point_mag"] == pytest.approx(on_copies.summary["zero_point_mag"], abs=1e-4)


def test_borrowed_planes_can_be_had_back_after_a_failure(star_field) -> None:
    field = star_field()
    exposure, twin = hit_exposure(field), hit_exposure(field)
    exposure.loan = Loan()
    reference = field.reference()
    reference["ra"] += 1.0
    with pytest.raises(NumericalError):
        calibrate_image([exposure], reference, "r")
    assert not np.array_equal(exposure.image, twin.image, True)
    back = exposure.original()
    assert np.array_equal(back.mask, twin.mask)
    np.testing.assert_allclose(back.image, twin.image, rtol=2e-6, atol=1e-3)


def test_two_snaps_have_half_the_variance_and_no_cosmic_rays(star_field) -> None:
    field = star_field()
    first, second = field.exposure(1), field.exposure(2)
    first.image[100:103, 200:230] += 5000
    second.image[400:430, 300] += 5000
    single = calibrate_image([field.exposure(1)], field.reference(), "r")
    both = calibrate_image([first, second], field.reference(), "r")
    ratio = np.median(both.exposure.variance) / np.median(single.exposure.variance)
    assert ratio == pytest.approx(0.5, rel=0.02)
    noise = np.sqrt(np.median(both.exposure.variance))
    assert (
        np.abs(both.exposure.image[100:103, 200:230] - single.exposure.image[100:103, 200:230]).max()
        < 8 * noise
    )
    assert both.exposure.has(Mask.INTRP)[400:430, 300].all()
    assert both.summary["n_snaps"] == 2
    assert both.exposure.visit_info.exposure_time == 60.0


def test_three_snaps_are_refused(star_field) -> None:
    exposure = star_field(n_stars=1).exposure()
    with pytest.raises(ValueError, match="1 or 2 snaps"):
        calibrate_image([exposure] * 3, star_field(n_stars=1).reference(), "r")


def test_saturated_stars_are_flagged_and_not_used(star_field) -> None:
    field = star_field(flux_range=(3e3, 5e6), n_stars=220)
    exposure = field.exposure()
    exposure.mask[exposure.image > 100_000] |= int(Mask.SAT)
    np.minimum(exposure.image, 100_000, out=exposure.image)
    result = calibrate_image([exposure], field.reference(), "r")
    saturated = result.stars[result.stars["saturated"]]
    assert len(saturated) > 20
    assert not saturated["psf_used"].any()
    assert not saturated["photom_used"].any()
    assert not saturated["astrom_used"].any()
    assert 10 ** (-0.4 * (result.photo_calib.zero_point - 31.4)) == pytest.approx(2.0, rel=0.01)


def test_sky_without_stars_is_an_error_with_their_number(star_field) -> None:
    field = star_field(n_stars=1, flux_range=(1.0, 2.0))
    with pytest.raises(TooFewStarsError) as error:
        run(field)
    assert error.value.metadata["needed"] == 3


def test_reference_without_the_band_is_an_error(star_field) -> None:
    field = star_field()
    with pytest.raises(NoReferenceStarsError, match="u_flux"):
        calibrate_image([field.exposure()], field.reference(), "u")


def test_empty_reference_is_an_error_before_any_work(star_field) -> None:
    field = star_field()
    with pytest.raises(NoReferenceStarsError):
        calibrate_image([field.exposure()], Table(names=["id", "ra", "dec", "r_flux"]), "r")


def test_reference_of_another_field_is_an_algorithm_error(star_field) -> None:
    field = star_field()
    reference = field.reference()
    reference["dec"] += 0.2
    with pytest.raises(NumericalError):
        calibrate_image([field.exposure()], reference, "r")


def test_image_of_bad_pixels_is_an_error(star_field) -> None:
    field = star_field()
    exposure = field.exposure()
    exposure.mask[:] = int(Mask.BAD)
    with pytest.raises(BadBackgroundError, match="usable_fraction"):
        calibrate_image([exposure], field.reference(), "r")


def test_image_that_is_all_source_is_an_error(star_field) -> None:
    field = star_field()
    exposure = Exposure.blank((512, 512), wcs=field.predicted_wcs())
    rng = np.random.default_rng(0)
    exposure.image[:] = rng.normal(0, 1, (512, 512))
    exposure.image[:, 100:] += 1e4 * np.sin(np.arange(412) / 8)
    exposure.variance[:] = 1.0
    with pytest.raises((DetectionError, TooFewStarsError)):
        calibrate_image([exposure], field.reference(), "r")


def test_image_without_a_wcs_is_refused(star_field) -> None:
    field = star_field()
    exposure = field.exposure()
    exposure.wcs = None
    with pytest.raises(ValueError, match="WCS"):
        calibrate_image([exposure], field.reference(), "r")
