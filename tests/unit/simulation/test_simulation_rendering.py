from __future__ import annotations

import galsim
import numpy as np
import pytest
from astropy.wcs import WCS

from prompt_processing.images import adaptive_moments
from prompt_processing.simulation.pair import tangent_wcs
from prompt_processing.simulation.point_spread import PointSpread
from prompt_processing.simulation.rendering import DrawableSources, draw, point_image
from prompt_processing.simulation.scene import Frame, gnomonic, psf_in_pixels


def sources(n: int = 1, **changes: object) -> DrawableSources:
    values: dict[str, np.ndarray] = {
        "x": np.full(n, 60.0),
        "y": np.full(n, 60.0),
        "flux": np.full(n, 1e5),
        "extent": np.zeros((n, 3)),
        "bulge": np.zeros(n),
        "sersic_index": np.zeros(n),
        "psf_shape": np.tile([12.25, 12.25, 0.0], (n, 1)),
        "psf_coma": np.zeros((n, 2)),
    }
    values.update({name: np.asarray(value, float) for name, value in changes.items()})
    return DrawableSources(**values)


def drawn(what: DrawableSources, size: int = 121, **options: float) -> np.ndarray:
    image = np.zeros((size, size), np.float32)
    draw(image, what, 1e-3, **options)
    return image


def test_star_is_a_kolmogorov_profile() -> None:
    image = drawn(sources())
    expected = galsim.Kolmogorov(fwhm=3.5, flux=1e5).drawImage(nx=121, ny=121, scale=1).array
    assert np.abs(image - expected).max() < 0.01 * expected.max()
    assert image.sum() == pytest.approx(expected.sum(), rel=5e-3)


def test_star_between_pixels_keeps_flux_and_place() -> None:
    image = drawn(sources(x=[60.3], y=[59.6]))
    rows, columns = np.mgrid[:121, :121]
    core = image * (np.hypot(columns - 60.3, rows - 59.6) < 40)
    assert image.sum() == pytest.approx(drawn(sources()).sum(), rel=1e-3)
    assert (core * columns).sum() / core.sum() == pytest.approx(60.3, abs=0.01)
    assert (core * rows).sum() / core.sum() == pytest.approx(59.6, abs=0.01)


def test_image_edge_cuts_and_does_not_wrap() -> None:
    image = drawn(sources(x=[-2.0], y=[60.0]))
    assert 0 < image.sum() < 0.5e5
    assert image[:, 60:].max() < 50


@pytest.mark.parametrize(("index", "bulge"), [(1.0, 0.0), (4.0, 1.0)])
def test_sum_of_gaussians_agrees_with_galsim(index: float, bulge: float) -> None:
    galaxy = sources(extent=[[9.0, 4.0, 2.0]], bulge=[bulge], sersic_index=[index])
    gaussians, truth = drawn(galaxy), drawn(galaxy, galsim_flux=1.0)
    assert np.abs(gaussians - truth).max() < 0.03 * truth.max()
    assert gaussians.sum() == pytest.approx(truth.sum(), rel=0.02)


def test_coma_skews_but_does_not_move_the_star() -> None:
    image = point_image(np.array([12.25, 12.25, 0.0]), np.array([0.5, 0.0]), 81)
    rows, columns = np.mgrid[-40:41, -40:41]
    assert abs((image * columns).sum()) < 0.1
    assert abs((image * columns**3 * (np.hypot(rows, columns) < 15)).sum()) > 1


def test_ellipticity_on_the_sky_follows_the_rotation_of_the_image() -> None:
    psf = PointSpread(0.8, 0.2, 0.0, (0.0, 0.0), np.zeros((1, 3)), np.zeros((1, 5)))

    def moments(rotation: float) -> tuple[float, float, float]:
        wcs: WCS = tangent_wcs((100, 100), 30.0, -40.0, rotation, 0.2)
        frame = Frame(wcs, (100, 100), (30.0, -40.0))
        shape, coma = psf_in_pixels(psf, np.zeros((1, 2)), frame.pixels_per_arcsec())
        return adaptive_moments(point_image(shape[0], coma[0], 41))

    ixx, iyy, ixy = moments(0.0)
    assert ixx > 1.2 * iyy
    assert abs(ixy) < 0.01
    ixx, iyy, ixy = moments(90.0)
    assert iyy > 1.2 * ixx
    assert abs(ixy) < 0.01


def test_gnomonic_offsets_are_those_of_the_tan_projection() -> None:
    wcs = tangent_wcs((1, 1), 10.0, 60.0, 0.0, 1.0)
    ra, dec = np.array([10.5, 9.8]), np.array([60.2, 59.9])
    x, y = wcs.all_world2pix(ra, dec, 0)
    offsets = gnomonic(ra, dec, 10.0, 60.0)
    assert np.allclose(offsets[:, 0], -x, atol=1e-6)
    assert np.allclose(offsets[:, 1], y, atol=1e-6)
