"""Stars and their width are right on skies where other things are more than stars are."""

import numpy as np
import pytest
from tests.support.gaussian_stars import NOISE, grid, sky

from prompt_processing.images import UNUSABLE, Exposure
from prompt_processing.imaging.calibration.neighbours import subtract_sources
from prompt_processing.imaging.calibration.psf.parametric import fit_parametric_psf, moffat_psf, round_psf
from prompt_processing.imaging.calibration.psf.stars import find_stars
from prompt_processing.imaging.calibration.source_profiles import PROFILE, fwhm_of, measure_profiles


def stars_of(image, positions):
    x, y = (np.rint([p[k] for p in positions]) for k in (0, 1))
    profiles = measure_profiles(image, np.zeros(image.shape, np.int32), x, y, NOISE, int(UNUSABLE))
    return profiles, find_stars(profiles, profiles["height"] / NOISE * 3)


def test_few_stars_among_many_galaxies_set_the_width():
    places = grid(9, 300)
    stars, galaxies = places[::9], [p for k, p in enumerate(places) if k % 9]
    image = sky(stars) + sky(galaxies, (7.0, 6.0, 1.0), seed=3)
    _, found = stars_of(image, places)
    assert found.fwhm == pytest.approx(2.3548 * 2.9**0.5, rel=0.05)
    assert set(np.flatnonzero(found.stars)) <= set(range(0, 81, 9))
    assert found.stars.sum() >= 7


def test_foot_of_the_stars_widths_in_a_crowded_field_is_not_taken_for_them():
    """Neighbours make a few stars look narrow, by less than would set them apart."""
    rng = np.random.default_rng(4)
    widths = np.concatenate([5 * np.exp(rng.normal(0, 0.03, 130)), rng.uniform(3.8, 4.3, 12)])
    profiles = np.zeros(len(widths), PROFILE)
    profiles["xx"] = profiles["yy"] = (widths / 2.3548) ** 2
    profiles["good"] = True
    found = find_stars(profiles, np.full(len(widths), 100.0))
    assert found.fwhm == pytest.approx(5, rel=0.02)
    assert found.stars[:130].mean() > 0.8


def test_hot_pixels_and_tracks_are_no_stars_however_many():
    stars = grid(3, 300)
    image = sky(stars)
    rng = np.random.default_rng(4)
    hits = []
    for x, y in rng.integers(10, 290, (60, 2)):
        if min(np.hypot(x - s[0], y - s[1]) for s in stars) < 15:
            continue
        image[y, x : x + rng.integers(1, 6)] += 900
        hits.append((x, y, 0))
    _, found = stars_of(image, [*stars, *hits])
    assert found.fwhm == pytest.approx(2.3548 * 2.9**0.5, rel=0.05)
    assert not found.stars[9:].any()
    assert found.sharp >= 0.9 * len(hits)
    assert "cosmic rays" in found.describe()


def test_elongated_stars_are_stars():
    stars = grid(5, 400)
    profiles, found = stars_of(sky(stars, (8.0, 2.0, 1.5)), stars)
    assert found.stars.sum() >= 23
    assert found.fwhm == pytest.approx(2.3548 * (8 * 2 - 1.5**2) ** 0.25, rel=0.04)
    assert np.median(profiles["xy"][found.stars]) == pytest.approx(1.5, abs=0.3)


def test_width_of_a_blended_star_is_its_own():
    image = sky([(50.0, 50.0, 500.0), (58.0, 50.0, 500.0)], shape=(100, 100))
    profiles, _ = stars_of(image, [(50, 50), (58, 50)])
    assert fwhm_of(profiles) == pytest.approx(2.3548 * 2.9**0.5, rel=0.1)


@pytest.mark.parametrize("moments", [(2.9, 2.9, 0.0), (6.0, 2.5, 1.0)])
def test_profile_has_the_moments_that_were_asked_for(moments):
    psf = moffat_psf(moments)
    assert psf.moments_at(0, 0) == pytest.approx(moments, abs=0.02)
    assert psf.image_at(0, 0).sum() == pytest.approx(1)


def test_one_star_makes_a_psf():
    true = moffat_psf((4.0, 3.0, 0.5), beta=2.2)
    image = sky([], shape=(100, 100))
    subtract_sources(image, true, np.array([50.3]), np.array([49.8]), np.array([-4e5]))
    exposure = Exposure(image, np.zeros(image.shape, np.int32), np.full(image.shape, NOISE**2, np.float32))
    profiles, _ = stars_of(image, [(50, 50)])
    psf = fit_parametric_psf(
        exposure, profiles["x"], profiles["y"], tuple(float(profiles[n][0]) for n in ("xx", "yy", "xy"))
    )
    assert psf.fwhm_at() == pytest.approx(true.fwhm_at(), rel=0.03)
    assert psf.image_at(0, 0).max() == pytest.approx(true.image_at(0, 0).max(), rel=0.1)


def test_sources_can_be_taken_out_at_any_place():
    psf = round_psf(4.0)
    image = np.zeros((60, 60), np.float32)
    x, y, flux = np.array([30.2, -1.0, 59.4, np.nan]), np.array([20.7, 10.0, 59.9, 5.0]), np.full(4, 100.0)
    subtract_sources(image, psf, x, y, -flux)
    assert image.sum() > 150
    subtract_sources(image, psf, x, y, flux)
    assert np.abs(image).max() < 1e-4
