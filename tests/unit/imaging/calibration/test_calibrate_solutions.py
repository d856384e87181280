import numpy as np
import pytest

from prompt_processing.images.tan_sip import tan_sip_wcs
from prompt_processing.imaging.calibration.astrometry import fit_wcs
from prompt_processing.imaging.calibration.photometry import PhotometryOptions, fit_zero_point
from prompt_processing.imaging.calibration.star_matching import match_nearest, vote_offset
from prompt_processing.imaging.errors import AstrometryError, PhotometryError
from prompt_processing.instruments import detector_wcs, load_camera

SHAPE = (4000, 4072)


class Sky:
    """A full detector's stars, seen with noise, some missing on either side."""

    def __init__(self, n: int = 300, noise: float = 0.05, seed: int = 1, detector: int = 0) -> None:
        camera = load_camera("LSSTCam")
        self.detector = camera.detector(detector)
        self.camera = camera
        self.truth = self.wcs()
        rng = np.random.default_rng(seed)
        x, y = rng.uniform(0, 4072, n), rng.uniform(0, 4000, n)
        flux = np.exp(rng.uniform(0, 6, n))
        ra, dec = self.truth.all_pix2world(x, y, 0)
        seen, listed = rng.uniform(size=(2, n)) > 0.15
        self.x = (x + rng.normal(0, noise, n))[seen]
        self.y = (y + rng.normal(0, noise, n))[seen]
        self.flux, self.error = flux[seen], np.full(seen.sum(), noise)
        extra = rng.uniform(0, 1, (2, 80))
        self.x = np.append(self.x, extra[0] * 4072)
        self.y = np.append(self.y, extra[1] * 4000)
        self.flux = np.append(self.flux, np.exp(rng.uniform(0, 4, 80)))
        self.error = np.append(self.error, np.full(80, noise))
        self.ra, self.dec, self.ref_flux = ra[listed], dec[listed], flux[listed]

    def wcs(self, east: float = 0.0, north: float = 0.0, turn: float = 0.0):
        ra = 150.0 + east / 3600 / np.cos(np.radians(-30))
        return detector_wcs(self.camera, self.detector, ra, -30.0 + north / 3600, 40.0 + turn)

    def fit(self, predicted):
        return fit_wcs(
            self.x, self.y, self.flux, self.error, self.ra, self.dec, self.ref_flux, predicted, SHAPE
        )

    def error_mas(self, wcs) -> float:
        x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 4071, 9), np.linspace(0, 3999, 9)))
        ra, dec = wcs.all_pix2world(x, y, 0)
        true_ra, true_dec = self.truth.all_pix2world(x, y, 0)
        return 3.6e6 * float(
            np.sqrt(np.mean(((ra - true_ra) * np.cos(np.radians(dec))) ** 2 + (dec - true_dec) ** 2))
        )


@pytest.mark.parametrize(
    ("east", "north", "turn"), [(0, 0, 0), (3, -2, 0.02), (20, -20, 0.0), (-15, 10, 0.01), (2, 2, -0.02)]
)
def test_wrong_pointing_is_found_and_removed(east: float, north: float, turn: float) -> None:
    sky = Sky()
    fit = sky.fit(sky.wcs(east, north, turn))
    assert sky.error_mas(fit.wcs) < 8
    assert fit.rms_mas < 30
    assert fit.used.sum() > 180


@pytest.mark.parametrize(("east", "north", "turn"), [(110.0, -60.0, 0.0), (20.0, 10.0, 4.0)])
def test_larger_errors_are_found_by_the_pattern_of_the_stars(east: float, north: float, turn: float) -> None:
    sky = Sky()
    fit = sky.fit(sky.wcs(east, north, turn))
    assert sky.error_mas(fit.wcs) < 8
    assert fit.offset_arcsec > 20
    assert abs(fit.rotation_deg) == pytest.approx(turn, abs=0.1)


def test_wrong_parity_and_scale_are_named() -> None:
    # Near the boresight: elsewhere, a mirrored detector is on another part of the sky.
    sky = Sky(detector=94)
    mirrored = sky.wcs()
    mirrored.wcs.cd = mirrored.wcs.cd * [[-1], [1]]
    with pytest.raises(AstrometryError, match="mirrored: parity_flipped_x"):
        sky.fit(mirrored)
    larger = sky.wcs()
    larger.wcs.cd = larger.wcs.cd * 1.1
    with pytest.raises(AstrometryError, match=r"plate_scale_arcsec_per_mm .* is wrong .*factor=0\.9"):
        sky.fit(larger)


def test_rotation_of_half_a_degree_about_the_detector_is_found() -> None:
    sky = Sky(detector=94)
    fit = sky.fit(sky.wcs(25, -15, 0.5))
    assert sky.error_mas(fit.wcs) < 8
    assert abs(fit.rotation_deg) == pytest.approx(0.5, abs=0.01)


def test_with_few_stars_the_camera_s_distortion_is_kept() -> None:
    sky = Sky(n=24, noise=0.02)
    sky.x, sky.y, sky.flux, sky.error = (a[:-70] for a in (sky.x, sky.y, sky.flux, sky.error))
    fit = sky.fit(sky.wcs(5, 5, 0))
    assert fit.order == 1
    assert sky.error_mas(fit.wcs) < 20


def test_solution_goes_both_ways() -> None:
    sky = Sky()
    wcs = sky.fit(sky.wcs(3, 2, 0)).wcs
    x, y = np.random.default_rng(0).uniform(0, 4000, (2, 200))
    pixels = np.column_stack([x, y])
    back = wcs.all_world2pix(wcs.all_pix2world(pixels, 0), 0)
    assert np.abs(back - pixels).max() < 1e-3


def test_another_part_of_the_sky_does_not_match() -> None:
    sky, other = Sky(), Sky(seed=2)
    sky.x, sky.y, sky.flux, sky.error = other.x, other.y, other.flux, other.error
    with pytest.raises(AstrometryError, match="No offset") as error:
        sky.fit(sky.wcs())
    assert error.value.metadata["votes"] < 10


def test_hardly_a_star_is_an_error_with_the_numbers() -> None:
    sky = Sky()
    sky.x, sky.y, sky.flux, sky.error = (a[:3] for a in (sky.x, sky.y, sky.flux, sky.error))
    with pytest.raises(AstrometryError) as error:
        sky.fit(sky.wcs())
    assert error.value.metadata["sources"] == 3


def test_sip_reproduces_a_smooth_map_to_a_tenth_of_a_milliarcsecond() -> None:
    truth = Sky().truth
    wcs = tan_sip_wcs(lambda pixels: truth.all_pix2world(pixels, 0), SHAPE)
    x, y = np.random.default_rng(0).uniform(0, 4000, (2, 500))
    difference = np.array(wcs.all_pix2world(x, y, 0)) - np.array(truth.all_pix2world(x, y, 0))
    assert np.abs(difference).max() * 3.6e6 < 0.1
    # The inverse polynomials alone, without iteration, as other software uses them.
    u, v = wcs.sip_pix2foc(x, y, 0)
    assert np.abs(np.array(wcs.sip_foc2pix(u, v, 0)) - [x, y]).max() < 0.01


def test_vote_of_two_random_sets_is_not_significant() -> None:
    rng = np.random.default_rng(0)
    vote = vote_offset(rng.uniform(-400, 400, (150, 2)), rng.uniform(-450, 450, (300, 2)), 45, 0.01, 1.5)
    assert vote.significance < 6


def test_nearest_pairs_are_mutual() -> None:
    first = np.array([[0.0, 0.0], [0.3, 0.0], [5.0, 5.0]])
    second = np.array([[0.25, 0.0], [9.0, 9.0]])
    rows, partners = match_nearest(first, second, 1.0)
    assert rows.tolist() == [1]
    assert partners.tolist() == [0]


def fluxes(n: int = 200, zero_point: float = 31.9, seed: int = 0, noise: float = 0.01):
    rng = np.random.default_rng(seed)
    reference = np.exp(rng.uniform(8, 13, n))
    flux = reference / 10 ** (-0.4 * (zero_point - 31.4)) * (1 + rng.normal(0, noise, n))
    return flux, noise * flux, reference, 0.005 * reference


def test_zero_point_survives_variables_and_blends() -> None:
    flux, error, reference, reference_error = fluxes()
    flux[:30] *= 1.6
    flux[30:45] *= 0.5
    zero_point = fit_zero_point(flux, error, reference, reference_error)
    assert zero_point.magnitude == pytest.approx(31.9, abs=0.004)
    assert zero_point.error < 0.003
    assert not zero_point.used[:45].any()
    assert zero_point.photo_calib.zero_point == pytest.approx(zero_point.magnitude)


def test_zero_point_error_is_that_of_the_scatter() -> None:
    values = [fit_zero_point(*fluxes(seed=i, n=50, noise=0.02)) for i in range(60)]
    scatter = np.std([v.magnitude for v in values])
    assert np.mean([v.error for v in values]) == pytest.approx(scatter, rel=0.4)


def test_unusable_pairs_are_not_used() -> None:
    flux, error, reference, reference_error = fluxes()
    usable = np.arange(200) < 100
    flux[100:] *= 1.05
    zero_point = fit_zero_point(flux, error, reference, reference_error, usable)
    assert zero_point.magnitude == pytest.approx(31.9, abs=0.004)


def test_too_few_stars_for_a_zero_point_are_an_error() -> None:
    with pytest.raises(PhotometryError) as error:
        fit_zero_point(*fluxes(n=3))
    assert error.value.metadata["needed"] == 4


def test_scatter_of_half_a_magnitude_is_an_error() -> None:
    flux, error, reference, reference_error = fluxes()
    flux *= np.exp(np.random.default_rng(1).normal(0, 0.6, 200))
    with pytest.raises(PhotometryError, match="scatter"):
        fit_zero_point(flux, error, reference, reference_error, options=PhotometryOptions())
