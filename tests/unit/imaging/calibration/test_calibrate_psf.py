import numpy as np
import pytest

from prompt_processing.images import Exposure, Mask, Psf
from prompt_processing.imaging.calibration.measurement import fit_psf
from prompt_processing.imaging.calibration.psf.model import PsfOptions, model_psf, spread_stars
from prompt_processing.imaging.errors import BadPsfError, TooFewStarsError


def without_sky(field) -> Exposure:
    exposure = field.exposure()
    exposure.image -= np.float32(field.sky)
    return exposure


def exact_psf(sigma: float, half: int = 15) -> Psf:
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    return Psf(np.exp(-(rows**2 + columns**2) / (2 * sigma**2))[np.newaxis].astype(np.float32))


def test_model_follows_the_width_over_the_image(star_field) -> None:
    field = star_field(variation=0.08, n_stars=200)
    model = model_psf(without_sky(field), field.x, field.y, field.flux, field.fwhm)
    assert model.psf.order == 3
    for x in (100.0, 350.0, 600.0):
        assert model.psf.fwhm_at(x, 350.0) == pytest.approx(2.3548 * field.sigma_at(x), rel=0.01)


def test_centroid_of_the_model_is_its_middle_pixel(star_field) -> None:
    field = star_field()
    image = model_psf(without_sky(field), field.x, field.y, field.flux, field.fwhm).psf.image_at(350, 350)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[0]] - image.shape[0] // 2
    weight = image * np.exp(-(rows**2 + columns**2) / (2 * 2.0**2))
    assert abs((weight * columns).sum() / weight.sum()) < 0.01
    assert abs((weight * rows).sum() / weight.sum()) < 0.01


def test_poor_first_guesses_of_the_positions_do_no_harm(star_field) -> None:
    field = star_field()
    rng = np.random.default_rng(0)
    x, y = field.x + rng.normal(0, 0.2, field.n_stars), field.y + rng.normal(0, 0.2, field.n_stars)
    model = model_psf(without_sky(field), x, y, field.flux, field.fwhm)
    assert model.fwhm == pytest.approx(field.fwhm, rel=0.01)


@pytest.mark.parametrize(("n_stars", "order"), [(12, 0), (22, 1), (36, 2), (60, 2), (120, 3)])
def test_few_stars_allow_only_a_low_degree(star_field, n_stars: int, order: int) -> None:
    field = star_field(n_stars=n_stars)
    assert model_psf(without_sky(field), field.x, field.y, field.flux, field.fwhm).psf.order == order


def test_galaxy_and_blend_among_the_stars_are_rejected(star_field) -> None:
    field = star_field(flux_range=(5e4, 2e5))
    exposure = without_sky(field)
    rows, columns = np.mgrid[: field.shape[0], : field.shape[1]]
    for row, (offset, sigma) in ((0, (3.5, 1.7)), (1, (0.0, 4.0))):
        distance = (columns - field.x[row] - offset) ** 2 + (rows - field.y[row]) ** 2
        exposure.image += (0.6 * field.flux[row] / (2 * np.pi * sigma**2)) * np.exp(
            -distance / (2 * sigma**2)
        )
    model = model_psf(exposure, field.x, field.y, field.flux, field.fwhm)
    assert not model.used[:2].any()
    assert model.used[2:].mean() > 0.97
    assert model.fwhm == pytest.approx(field.fwhm, rel=0.01)


def test_pixels_of_neighbours_are_left_out(star_field) -> None:
    field = star_field(n_stars=40, flux_range=(1e5, 2e5))
    exposure = without_sky(field)
    segmentation = np.zeros(field.shape, np.int32)
    for i in range(field.n_stars):
        x, y = round(field.x[i]) + 9, round(field.y[i])
        if x < 680:
            exposure.image[max(y - 2, 0) : y + 3, x : x + 5] += 5e3
            segmentation[max(y - 2, 0) : y + 3, x : x + 5] = 1000 + i
    labels = np.arange(1, 41, dtype=np.int32)
    image = model_psf(exposure, field.x, field.y, field.flux, field.fwhm, segmentation, labels).psf.image_at(
        350, 350
    )
    half = image.shape[0] // 2
    assert abs(image[half, half + 9 : half + 14]).max() < 0.002 * image.max()


def test_too_few_stars_are_an_error_with_their_number(star_field) -> None:
    field = star_field(n_stars=3)
    with pytest.raises(TooFewStarsError) as error:
        model_psf(without_sky(field), field.x, field.y, field.flux, field.fwhm)
    assert error.value.metadata == {"stars": 3, "needed": 5}


def test_stars_of_absurd_width_are_an_error(star_field) -> None:
    field = star_field(n_stars=50, flux_range=(1e5, 3e5))
    with pytest.raises(BadPsfError, match="fwhm_pixels"):
        model_psf(
            without_sky(field), field.x, field.y, field.flux, field.fwhm, options=PsfOptions(max_fwhm=3.0)
        )


def test_stars_are_chosen_from_all_over_the_image() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1000, (2, 2000))
    flux = np.where(x < 500, 100.0, 1.0)
    chosen = spread_stars(x, y, flux, 200)
    assert len(chosen) == 200
    assert 60 < np.count_nonzero(x[chosen] >= 500) < 140


def test_fitted_fluxes_and_positions_scatter_by_their_errors(star_field) -> None:
    field = star_field(n_stars=400, shape=(1000, 1000), flux_range=(2e3, 1e5))
    exposure = without_sky(field)
    exposure.psf = exact_psf(field.fwhm / 2.3548)
    rng = np.random.default_rng(5)
    fits = fit_psf(exposure, field.x + rng.normal(0, 0.3, 400), field.y + rng.normal(0, 0.3, 400))
    inside = (field.x > 20) & (field.x < 980) & (field.y > 20) & (field.y < 980)
    assert fits.moved[inside].all()
    for measured, truth, error in (
        (fits.flux, field.flux, fits.flux_err),
        (fits.x, field.x, fits.x_err),
        (fits.y, field.y, fits.y_err),
    ):
        pull = ((measured - truth) / error)[inside]
        assert abs(pull.mean()) < 0.2
        assert pull.std() == pytest.approx(1.0, abs=0.15)
    assert np.median(fits.chi2[inside] / fits.n_pixels[inside]) == pytest.approx(1.0, abs=0.1)


def test_flux_is_right_when_part_of_a_star_is_masked(star_field) -> None:
    field = star_field(flux_range=(1e5, 2e5))
    exposure = without_sky(field)
    exposure.psf = exact_psf(field.fwhm / 2.3548)
    for x, y in zip(field.x, field.y, strict=True):
        row, column = round(y), round(x) + 1
        exposure.image[row, column] = 1e6
        exposure.mask[row, column] |= int(Mask.CR)
    fits = fit_psf(exposure, field.x, field.y)
    inside = (field.x > 20) & (field.x < 680) & (field.y > 20) & (field.y < 680)
    assert np.median(fits.flux[inside] / field.flux[inside]) == pytest.approx(1.0, abs=0.01)
    assert (fits.planes[inside] & int(Mask.CR)).all()


def test_source_that_the_image_cuts_off_says_so(star_field) -> None:
    field = star_field(flux_range=(1e5, 2e5))
    exposure = without_sky(field)
    exposure.psf = exact_psf(field.fwhm / 2.3548)
    fits = fit_psf(exposure, [1.5, 350.0, 350.0], [350.0, 350.0, 698.0], radius=5.0)
    assert list(fits.planes & int(Mask.EDGE) != 0) == [True, False, True]


def test_source_that_is_not_there_keeps_its_place_and_gets_a_flux() -> None:
    exposure = Exposure.blank((60, 60), psf=exact_psf(1.7))
    exposure.image[:] = np.random.default_rng(0).normal(0, 1, (60, 60))
    exposure.variance[:] = 1.0
    fits = fit_psf(exposure, [30.0, np.nan, 500.0], [30.0, 10.0, 500.0], max_shift=0.5)
    assert np.isfinite(fits.flux[0])
    assert abs(fits.x[0] - 30) <= 0.5
    assert np.isnan(fits.flux[1:]).all()


def test_fit_without_a_psf_is_refused() -> None:
    with pytest.raises(ValueError, match="PSF"):
        fit_psf(Exposure.blank((10, 10)), [5.0], [5.0])
