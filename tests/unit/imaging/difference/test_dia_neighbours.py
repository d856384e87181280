"""Sources whose light overlaps are all found, each with its own flux and position."""

from itertools import pairwise

import numpy as np
import pytest

from prompt_processing.images import Exposure
from prompt_processing.imaging import row_bands
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.dia_filters import filter_dia_sources
from prompt_processing.imaging.measurement.dia_neighbours import _groups

SIGMA = 1.7
FWHM = 2.3548 * SIGMA
NOISE_OF_A_POINT_SOURCE = np.sqrt(4 * np.pi) * SIGMA
"""Standard error of a PSF flux where the pixels' variance is 1."""


def measured(exposure):
    blank = Exposure.blank(exposure.shape, wcs=exposure.wcs, psf=exposure.psf)
    blank.variance[:] = 1
    return detect_and_measure(exposure, exposure, blank)


def pairs(separation, ratio, snr, seed=1):
    """Return 25 pairs of stars in all directions, ``separation`` in FWHM."""
    rng = np.random.default_rng(seed)
    stars = []
    for x, y in ((45.0 + 60 * (k % 5), 45.0 + 60 * (k // 5)) for k in range(25)):
        angle = rng.uniform(0, 2 * np.pi)
        x, y = x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5)
        dx, dy = (0.5 * separation * FWHM * f(angle) for f in (np.cos, np.sin))
        flux = snr * NOISE_OF_A_POINT_SOURCE
        stars += [(x - dx, y - dy, flux), (x + dx, y + dy, ratio * flux)]
    return stars


@pytest.mark.parametrize(
    ("separation", "ratio", "snr"),
    [
        (1.9, 1.0, 20),
        (1.9, 1.0, 300),
        (1.9, -1.0, 40),
        (1.9, 0.8, -100),
        (3.0, 0.2, 100),
        # Without a peak of their own:
        (1.3, 1.0, 30),
        (1.6, 1.0, -60),
        (1.3, 0.5, 60),
        (1.9, 0.1, 500),
    ],
)
def test_sources_beside_each_other_are_both_kept(star_image, separation, ratio, snr):
    stars = pairs(separation, ratio, snr)
    kept, _ = filter_dia_sources(measured(star_image((330, 330), stars, seed=2)))
    found, pulls = 0, []
    for x, y, flux in stars:
        distance = np.hypot(np.asarray(kept["x"]) - x, np.asarray(kept["y"]) - y)
        best = int(np.argmin(distance))
        if distance[best] < 0.3 * FWHM and np.sign(kept["psfFlux"][best]) == np.sign(flux):
            found += 1
            pulls.append((kept["psfFlux"][best] - flux) / kept["psfFluxErr"][best])
    assert found >= 48
    assert len(kept) <= 50
    assert abs(np.mean(pulls)) < 0.6


def test_lobes_of_a_dipole_are_not_two_sources(star_image):
    """Two lobes nearer than those of separate sources come from an error of the alignment."""
    kept, rejected = filter_dia_sources(measured(star_image((330, 330), pairs(1.0, -1.0, 60), seed=2)))
    assert len(kept) == 0
    assert len(rejected) >= 25


@pytest.mark.parametrize("length", [1.0, 1.8, 2.6, 4.0])
@pytest.mark.parametrize("snr", [30, 300])
def test_short_trail_is_one_source(star_image, length, snr):
    flux = snr * NOISE_OF_A_POINT_SOURCE
    steps = (np.arange(30) + 0.5) / 30 - 0.5
    trail = [(100.2 + 0.8 * s * length * FWHM, 99.7 + 0.6 * s * length * FWHM, flux / 30) for s in steps]
    kept, _ = filter_dia_sources(measured(star_image((200, 200), trail, seed=2)))
    assert len(kept) == 1
    assert kept["trailLength"][0] == pytest.approx(0.2 * length * FWHM, rel=0.05 + 6 / snr)


def test_cosmic_ray_is_no_pair(star_image):
    """A track of single pixels is no sum of point sources."""
    image = star_image((200, 200), [], seed=2)
    for k in range(6):
        image.image[100 + k, 90 + 2 * k : 92 + 2 * k] += 150
    kept, _ = filter_dia_sources(measured(image))
    assert len(kept) == 0


def test_fuzzy_source_is_no_pair(star_image):
    """An error of the PSF's width leaves a ring, in which no second source must be found."""
    image = star_image((200, 200), [(100.2, 99.7, 300 * NOISE_OF_A_POINT_SOURCE)], sigma=1.15 * SIGMA, seed=2)
    image.psf = star_image((9, 9), []).psf
    assert len(measured(image)) == 1


def test_groups_hold_what_affects_each_other():
    pairs = [(0, 5), (5, 2), (1, 3)]
    neighbours = [sorted({b for a, b in pairs + [p[::-1] for p in pairs] if a == k}) for k in range(7)]
    first = np.cumsum([0, *map(len, neighbours)])
    members, begin = _groups(first, np.concatenate(neighbours).astype(np.int64))
    groups = [members[start:stop].tolist() for start, stop in pairwise(begin)]
    assert groups == [[0, 2, 5], [1, 3]]


def test_fit_does_not_depend_on_the_number_of_threads(star_image, monkeypatch):
    image = star_image((330, 330), pairs(1.9, 0.5, 60), seed=2)
    together = measured(image)
    monkeypatch.setattr(row_bands, "available_cores", lambda limit=8: 1)
    alone = measured(image)
    assert np.array_equal(together["psfFlux"], alone["psfFlux"])
