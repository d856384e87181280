import numpy as np
import pytest
from scipy import ndimage

from prompt_processing.images import Exposure, Mask, Psf
from prompt_processing.imaging.errors import TooManyCosmicRaysError
from prompt_processing.imaging.isr.cosmic_rays import CosmicRayOptions, find_cosmic_rays


def sky(shape: tuple[int, int] = (300, 300), level: float = 800.0, seed: int = 2) -> Exposure:
    exposure = Exposure.blank(shape)
    rng = np.random.default_rng(seed)
    exposure.image[:] = level + rng.normal(0, np.sqrt(level + 36), shape)
    exposure.variance[:] = level + 36
    return exposure


def add_tracks(exposure: Exposure, n: int = 40, seed: int = 4) -> np.ndarray:
    """Add straight one-pixel tracks of 600 to 3000 electrons a pixel; return where."""
    rng = np.random.default_rng(seed)
    hit = np.zeros(exposure.shape, bool)
    for _ in range(n):
        x, y = rng.uniform(30, 270, 2)
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(1, 15)
        for step in np.arange(0, length, 0.7):
            hit[int(y + step * np.sin(angle)), int(x + step * np.cos(angle))] = True
    exposure.image[hit] += rng.uniform(600, 3000, hit.sum())
    return hit


def test_tracks_are_found_marked_and_filled() -> None:
    exposure = sky()
    hit = add_tracks(exposure)
    n = find_cosmic_rays(exposure)
    found = exposure.has(Mask.CR)
    assert n == found.sum()
    assert found[hit].mean() > 0.95
    around = ndimage.binary_dilation(hit, np.ones((3, 3)))
    assert found[~around].sum() < 0.1 * hit.sum()
    assert found[around & ~hit].mean() < 0.3
    assert exposure.has(Mask.INTRP)[found].all()
    assert np.abs(exposure.image[found] - 800).max() < 200


def test_no_star_is_taken_for_a_cosmic_ray(star_field) -> None:
    field = star_field(fwhm=2.8, flux_range=(3e3, 1.5e6), n_stars=400)
    exposure = field.exposure()
    assert find_cosmic_rays(exposure) <= 2


def test_no_star_on_coarse_pixels_is_taken_for_a_cosmic_ray(star_field) -> None:
    field = star_field(fwhm=2.1, flux_range=(3e3, 1.5e6), n_stars=400)
    assert find_cosmic_rays(field.exposure(), CosmicRayOptions.for_pixels(1.03)) <= 2
    # Finer pixels keep the sharper test.
    assert CosmicRayOptions.for_pixels(0.2) == CosmicRayOptions()
    assert find_cosmic_rays(field.exposure(), CosmicRayOptions.for_pixels(0.2)) > 20


def test_cores_of_stars_after_a_jump_of_the_mount_are_no_cosmic_rays() -> None:
    exposure = sky()
    rng = np.random.default_rng(9)
    rows, columns = np.mgrid[:300, :300]
    places = rng.uniform(20, 280, (25, 2))
    for x, y in places:
        for dx, dy, fwhm, flux in ((0, 0, 1.7, 9e4), (1.2, 2.3, 1.7, 3e4), (0.2, 0.3, 5.0, 1.5e5)):
            sigma = fwhm / 2.3548
            square = (columns - x - dx) ** 2 + (rows - y - dy) ** 2
            exposure.image += flux / (2 * np.pi * sigma**2) * np.exp(-square / (2 * sigma**2))
    exposure.variance[:] = np.maximum(exposure.image, 800) + 36
    exposure.image += rng.normal(0, np.sqrt(exposure.variance - 836))
    hit = add_tracks(exposure)
    find_cosmic_rays(exposure)
    found = exposure.has(Mask.CR)
    near = np.zeros(exposure.shape, bool)
    for x, y in places:
        near |= (columns - x) ** 2 + (rows - y) ** 2 < 81
    assert found[near & ~ndimage.binary_dilation(hit, np.ones((5, 5)))].sum() <= 3
    assert found[hit & ~near].mean() > 0.9


def test_hits_on_and_around_stars_and_galaxies_are_still_found(star_field) -> None:
    exposure = star_field(fwhm=4.0, flux_range=(3e3, 3e5), n_stars=150).exposure()
    rows, columns = np.mgrid[: exposure.shape[0], : exposure.shape[1]]
    galaxy = 4000 * np.exp(-np.hypot(columns - 150, rows - 150) / 40)
    exposure.image += galaxy
    exposure.variance += galaxy
    hit = np.zeros(exposure.shape, bool)
    rng = np.random.default_rng(3)
    hit[rng.integers(20, 280, 200), rng.integers(20, 280, 200)] = True
    exposure.image[hit] += 40 * np.sqrt(exposure.variance[hit]) + 0.5 * exposure.image[hit]
    find_cosmic_rays(exposure)
    assert exposure.has(Mask.CR)[hit].mean() > 0.9


def test_sharper_test_with_the_psf_finds_blurred_hits(star_field) -> None:
    field = star_field(fwhm=5.0)
    exposure = field.exposure()
    rows, columns = np.mgrid[-12:13, -12:13]
    sigma = field.fwhm / 2.3548
    profile = np.exp(-(rows**2 + columns**2) / (2 * sigma**2))
    hits = np.argwhere(np.random.default_rng(1).uniform(size=field.shape) < 2e-4)
    blur = np.exp(-(rows**2 + columns**2) / (2 * 1.0**2))[9:16, 9:16]
    for y, x in hits:
        if 10 < y < 690 and 10 < x < 690:
            exposure.image[y - 3 : y + 4, x - 3 : x + 4] += 1500 * blur
    blind = exposure.mask.copy(), exposure.image.copy()
    without = find_cosmic_rays(exposure)
    exposure.mask[:], exposure.image[:] = blind
    exposure.psf = Psf(profile[np.newaxis].astype(np.float32))
    options = CosmicRayOptions(sharpness=0.85)
    assert find_cosmic_rays(exposure, options) > 2 * without
    stars = exposure.has(Mask.CR)[np.rint(field.y).astype(int), np.rint(field.x).astype(int)]
    assert stars.sum() <= 1


def test_neighbours_of_bad_and_saturated_pixels_are_not_hits(star_field) -> None:
    field = star_field(fwhm=3.5, n_stars=50, flux_range=(1e6, 4e6))
    exposure = field.exposure()
    exposure.mask[exposure.image > 130_000] |= int(Mask.SAT)
    np.minimum(exposure.image, 130_000, out=exposure.image)
    exposure.image[:, 100] = 0
    exposure.mask[:, 100] |= int(Mask.BAD)
    assert find_cosmic_rays(exposure) <= 3


def test_a_frame_of_nothing_but_spikes_is_not_believed_and_not_changed() -> None:
    exposure = sky()
    exposure.variance[:] = 1.0
    before = exposure.image.copy()
    with pytest.raises(TooManyCosmicRaysError, match="sharper"):
        find_cosmic_rays(exposure, CosmicRayOptions(max_pixels=100))
    assert np.array_equal(exposure.image, before)
    assert not exposure.mask.any()


def test_charge_that_diffused_beside_a_track_is_marked_too() -> None:
    exposure = sky(level=200.0)
    exposure.image[150, 100:140] += 3000
    exposure.image[149, 100:140] += 120
    exposure.image[151, 100:140] += 120
    find_cosmic_rays(exposure)
    assert exposure.has(Mask.CR)[149:152, 100:140].mean() > 0.97
    assert exposure.image[149:152, 100:140].mean() - 200 < 10


def test_clean_sky_has_no_cosmic_rays() -> None:
    assert find_cosmic_rays(sky((600, 600))) == 0
