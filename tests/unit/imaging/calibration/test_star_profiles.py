"""Stars, their width and the noise are right on skies where other things are more than stars are."""

import numpy as np
import pytest
from scipy import ndimage

from prompt_processing.images import UNUSABLE, Exposure, Mask
from prompt_processing.imaging.calibration.defects import fill_scattered_holes, mark_bad_lines
from prompt_processing.imaging.calibration.neighbours import subtract_sources
from prompt_processing.imaging.calibration.pixel_noise import (
    dithered,
    hides_noise,
    pixel_noise,
    quantum,
    unclipped,
)
from prompt_processing.imaging.calibration.psf.parametric import fit_parametric_psf, moffat_psf, round_psf
from prompt_processing.imaging.calibration.psf.stars import find_stars
from prompt_processing.imaging.calibration.source_profiles import PROFILE, fwhm_of, measure_profiles

NOISE = 5.0


def sky(stars, moments=(2.9, 2.9, 0.0), shape=(300, 300), seed=1):
    """Return an image with Gaussian stars ``(x, y, height)`` of some second moments, and its noise."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, NOISE, shape)
    xx, yy, xy = moments
    determinant = xx * yy - xy**2
    rows, columns = np.indices(shape)
    for x, y, height in stars:
        u, v = columns - x, rows - y
        image += height * np.exp(-0.5 * (yy * u * u - 2 * xy * u * v + xx * v * v) / determinant)
    return image.astype(np.float32)


def grid(n, height, seed=2, size=300):
    rng = np.random.default_rng(seed)
    steps = np.linspace(20, size - 20, n)
    x, y = (axis.ravel() + rng.uniform(-4, 4, n * n) for axis in np.meshgrid(steps, steps))
    return list(zip(x, y, height * rng.uniform(0.5, 2, n * n), strict=True))


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


def test_noise_between_stars_without_number_is_that_of_pixels():
    rng = np.random.default_rng(5)
    light = np.zeros((300, 300))
    light[rng.integers(0, 300, 3000), rng.integers(0, 300, 3000)] = rng.pareto(1.0, 3000) * 300
    image = (ndimage.gaussian_filter(light, 1.8) + rng.normal(0, NOISE, light.shape)).astype(np.float32)
    image -= np.median(image)
    clipped = 1.4826 * np.median(np.abs(image))
    assert clipped > 1.3 * NOISE
    assert pixel_noise(image, np.ones(image.shape, bool)) == pytest.approx(NOISE, rel=0.08)


def test_noise_of_a_resampled_image_is_that_of_pixels():
    white = np.random.default_rng(6).normal(0, NOISE, (300, 300))
    image = ndimage.gaussian_filter(white, 1.0).astype(np.float32)
    assert pixel_noise(image, np.ones(image.shape, bool)) == pytest.approx(image.std(), rel=0.1)


def test_steps_of_integers_are_seen_and_do_not_bias_the_middle():
    values = np.random.default_rng(7).normal(401.3, 7, (200, 200))
    usable = np.ones(values.shape, bool)
    steps = (np.round(values / 16) * 16).astype(np.float32)
    assert quantum(steps, usable) == 16
    assert quantum(values.astype(np.float32), usable) == 0
    assert np.median(dithered(steps, 16)) == pytest.approx(401.3, abs=0.6)


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


def test_columns_that_stand_out_are_marked_and_stars_are_not():
    image = sky(grid(6, 2000))
    image[:, 77] += 2 * NOISE
    image[:, 140:142] -= 15 * NOISE
    exposure = Exposure(image, np.zeros(image.shape, np.int32), np.full(image.shape, NOISE**2, np.float32))
    mark_bad_lines(exposure, NOISE)
    bad = exposure.has(Mask.BAD)
    assert list(np.flatnonzero(bad.mean(axis=0) > 0.9)) == [77, 140, 141]
    assert bad.sum() < 3.2 * 300
    assert abs(np.median(exposure.image[:, 140])) < NOISE


def test_short_columns_and_rows_are_marked_and_bright_stars_are_not():
    image = sky([(60.0, 60.0, 40_000.0), (180.0, 133.0, 8000.0), (250.0, 70.0, 2000.0)])
    stars = image.copy()
    image[100:190, 77] -= 6 * NOISE
    image[210, 40:130] += 5 * NOISE
    exposure = Exposure(image, np.zeros(image.shape, np.int32), np.full(image.shape, NOISE**2, np.float32))
    mark_bad_lines(exposure, NOISE)
    bad = exposure.has(Mask.BAD)
    assert bad[105:185, 77].mean() > 0.8
    assert bad[210, 45:125].mean() > 0.8
    assert not bad[stars > 10 * NOISE].any()
    assert bad.sum() < 260


def test_dark_pieces_of_columns_are_marked_and_gaps_between_stars_are_not():
    image = sky([*grid(6, 20_000), (150.0, 31.0, 9e3), (158.0, 31.0, 9e3)], (6.0, 6.0, 0.0))
    image[100:122, 98] -= 4 * NOISE
    exposure = Exposure(image, np.zeros(image.shape, np.int32), np.full(image.shape, NOISE**2, np.float32))
    mark_bad_lines(exposure, NOISE)
    bad = exposure.has(Mask.BAD)
    assert bad[102:120, 98].mean() > 0.8
    assert bad.sum() < 40


def test_scattered_holes_are_filled_as_the_light_around_them_is():
    clean = sky([(50.0, 50.0, 300.0)], (6.0, 6.0, 0.0), (100, 100))
    image, mask = clean.copy(), np.zeros(clean.shape, np.int32)
    holes = np.random.default_rng(8).uniform(size=clean.shape) < 0.02
    holes[10:20, 10:20] = True
    image[holes], mask[holes] = 0, int(Mask.NO_DATA)
    exposure = Exposure(image, mask, np.full(clean.shape, NOISE**2, np.float32))
    fill_scattered_holes(exposure, NOISE)
    filled = holes & ~exposure.has(Mask.NO_DATA)
    assert exposure.has(Mask.NO_DATA)[12:18, 12:18].all()
    assert filled.sum() > 0.6 * (holes.sum() - 100)
    assert np.std(image[filled] - clean[filled]) < 2 * NOISE


@pytest.mark.parametrize("level", [10.0, 10.3, 10.5])
@pytest.mark.parametrize("scatter", [0.05, 0.25, 0.8])
def test_steps_hide_the_noise_where_the_sky_has_two_values(level, scatter):
    values = np.rint(np.random.default_rng(2).normal(level, scatter, (200, 200))).astype(np.float32)
    assert hides_noise(values, np.ones(values.shape, bool), 1.0) == (scatter < 0.5)


def test_single_photons_hide_no_noise():
    for mean in (0.05, 0.2, 0.6, 1.5):
        counts = np.random.default_rng(3).poisson(mean, (200, 200)).astype(np.float32)
        assert not hides_noise(counts, np.ones(counts.shape, bool), 1.0)
        assert unclipped(counts, np.ones(counts.shape, bool)) is None
    assert not hides_noise(counts, np.zeros(counts.shape, bool), 1.0)


@pytest.mark.parametrize("floor", [-0.8, 0.0, 0.4])
def test_clipped_sky_gets_its_noise_back(floor):
    sky = np.random.default_rng(4).normal(0, 1, (300, 300)).astype(np.float32)
    full = unclipped(np.maximum(sky, np.float32(floor)), np.ones(sky.shape, bool))
    assert np.mean(full) == pytest.approx(0, abs=0.03)
    assert np.std(full) == pytest.approx(1, abs=0.03)
    assert (full[sky > floor] == sky[sky > floor]).all()
    counts = np.maximum(np.rint(4 * sky + 3), 0).astype(np.float32)
    assert np.std(unclipped(counts, np.ones(sky.shape, bool))) == pytest.approx(4, abs=0.2)


def test_blank_parts_and_plain_skies_are_not_clipped():
    sky = np.random.default_rng(4).normal(0, 1, (300, 300)).astype(np.float32)
    assert unclipped(sky, np.ones(sky.shape, bool)) is None
    assert unclipped(np.sign(sky), np.ones(sky.shape, bool)) is None
    sky[:, :90] = -10
    assert unclipped(sky, np.ones(sky.shape, bool)) is None
