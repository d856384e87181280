"""What the figures of a visit show, as numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from prompt_processing.images import AB_ZERO_POINT_NJY, Exposure, Mask, MatchingKernel, Psf
from prompt_processing.instruments import load_camera
from prompt_processing.tasks.plots.focal_plane import metric_of_bundle, outline
from prompt_processing.tasks.plots.residuals import (
    CLASSES,
    binned,
    class_of_dia_sources,
    kernel_variation,
    residual_histogram,
    residual_map,
)
from prompt_processing.tasks.plots.stars import psf_residuals, psf_shapes, star_residuals


def _noise(shape: tuple[int, int] = (200, 240), sigma: float = 7.0) -> Exposure:
    exposure = Exposure.blank(shape, psf=_psf())
    exposure.image[:] = np.random.default_rng(1).normal(0, sigma, shape)
    exposure.variance[:] = sigma**2
    return exposure


def _psf(size: int = 21, sigma: float = 2.0) -> Psf:
    radius2 = np.sum(np.mgrid[-10:11, -10:11] ** 2, axis=0)
    return Psf(np.exp(-0.5 * radius2 / sigma**2)[np.newaxis].astype(np.float32), x_centre=120, y_centre=100)


def test_noise_is_distributed_as_its_variance_says() -> None:
    difference = _noise()
    difference.image[5, 5] = 1e4
    difference.mask[5, 5] = Mask.DETECTED
    difference.image[8, 8] = -1e5
    difference.mask[8, 8] = Mask.BAD
    found = residual_histogram(difference)
    width = np.diff(found.edges)
    assert np.sum(found.sky * width) == pytest.approx(1)
    middle = 0.5 * (found.edges[1:] + found.edges[:-1])
    assert np.sum(found.sky * width * middle**2) == pytest.approx(1, abs=0.03)
    # Far values are in the last bin; pixels that are bad are nowhere.
    assert found.detected[-1] * width[-1] == pytest.approx(1)
    assert found.sky[0] == 0


def test_a_map_shows_where_the_difference_deviates() -> None:
    difference = _noise()
    difference.image[:50, :50] += 7
    difference.image[150:, 200:] *= 3
    difference.mask[100:150, 100:150] = Mask.NO_DATA
    found = residual_map(difference, n_cells=5)
    assert found.cell == 48
    assert found.median[0, 0] == pytest.approx(1, abs=0.1)
    assert found.scatter[3, 4] > 2
    assert found.scatter[1, 1] == pytest.approx(1, abs=0.1)
    whole = residual_map(difference, n_cells=24)
    assert np.isnan(whole.median[11, 11])


def test_a_kernel_shows_its_variation_and_its_shift() -> None:
    basis = np.zeros((2, 5, 5))
    basis[0, 2, 2] = 1
    basis[1, 2, 3] = 1
    # The second image grows from left to right.
    coefficients = np.array([[1.0, 0, 0], [0.5, 0.5, 0]])
    found = kernel_variation(MatchingKernel(basis, coefficients, 1, 49.5, 99.5, 100.0))
    assert found.extent == (100, 200)
    assert found.images.shape == (9, 5, 5)
    assert found.sums[0, -1] > found.sums[0, 0]
    assert found.sums[0, 3] == pytest.approx(found.sums[-1, 3])
    assert np.all(found.shift_x > 0)
    assert found.shift_y == pytest.approx(0)
    assert found.x[0] < found.x[1] == pytest.approx(49.5)


def test_the_most_particular_class_of_a_dia_source_counts() -> None:
    sources = pd.DataFrame(
        {
            "isNegative": pd.array([False, True, True, None, False], dtype="boolean"),
            "isDipole": [False, False, True, False, False],
            "trailLength": [np.nan, np.nan, np.nan, 3.0, 3.0],
            "ssObjectId": pd.array([None, 0, None, None, 12], dtype="Int64"),
        }
    )
    names = [CLASSES[one] for one in class_of_dia_sources(sources)]
    assert names == ["brighter", "fainter", "dipole", "trail", "minor planet"]
    assert not class_of_dia_sources(sources[["isNegative"]][:1]).any()


def test_cells_are_means_of_finite_pixels() -> None:
    image = np.arange(24, dtype=np.float32).reshape(4, 6)
    image[0, 0] = np.nan
    cells, step = binned(image, 3)
    assert step == 2
    assert cells[0, 0] == pytest.approx((1 + 6 + 7) / 3)
    assert cells.shape == (2, 3)


def test_stars_like_the_psf_leave_nothing() -> None:
    image, psf = _noise(sigma=1e-3), _psf()
    places = [(40.3, 50.1), (120.6, 100.2), (180.9, 160.4), (2.0, 100.0)]
    for x, y in places[:3]:
        stamp, x0, y0 = psf.stamp_at(x, y)
        image.image[y0 : y0 + 21, x0 : x0 + 21] += 1000 * stamp
    image.image[100, 121] = 1e6
    image.mask[100, 121] = Mask.CR
    stars = Table(
        {
            "x": [x for x, _ in places], "y": [y for _, y in places],
            "psfFlux": [1000.0] * 4, "snr": [100.0] * 4, "psf_used": [True] * 4,
        }
    )  # fmt: skip
    found = psf_residuals(image, stars)
    # One star in each of three parts; that at the edge has no full stamp.
    assert found.counts.sum() == 3
    assert found.counts[0, 0] == found.counts[1, 1] == found.counts[2, 2] == 1
    assert np.nanmax(np.abs(found.residual)) < 1e-4
    assert np.isnan(found.residual[1, 1]).sum() == 1
    shapes = psf_shapes(image)
    assert shapes.fwhm == pytest.approx(2 * 2.355, rel=0.02)
    assert np.hypot(shapes.e1, shapes.e2) == pytest.approx(0, abs=1e-3)


def test_stars_are_compared_with_their_own_entry() -> None:
    stars = Table(
        {
            "x": [1.0, 2, 3], "y": [1.0, 2, 3], "ref_id": [30, -1, 10],
            "ra": [0.0, 5, 359.9999], "dec": [60.0, 5, 60],
            "psfFlux": [1000.0, 1, 2000], "psfFluxErr": [10.0, 1, 20],
            "astrom_used": [True, False, True], "photom_used": [True, False, False],
        }
    )  # fmt: skip
    reference = Table({"id": [10, 20, 30], "ra": [0.0, 1, 359.9999], "dec": [60.0, 1, 60.0001]})
    found = star_residuals(stars, reference, np.array([2000.0, 1, 500]))
    assert len(found) == 2
    assert found.east == pytest.approx([180, -180], rel=1e-4)
    assert found.north == pytest.approx([-360, 0], abs=1e-3)
    assert found.magnitude_residual == pytest.approx([-2.5 * np.log10(2), 0])
    assert found.magnitude[1] == pytest.approx(-2.5 * np.log10(2000 / AB_ZERO_POINT_NJY))
    assert found.magnitude_error == pytest.approx(1.0857 * 0.01, rel=1e-3)
    assert found.photometry_used.tolist() == [True, False]
    assert len(star_residuals(stars, reference[:0], np.zeros(0))) == 0


def test_detectors_without_a_value_are_outlined() -> None:
    camera = load_camera("LSSTCam")
    found = {one.name: one for one in outline(camera, {94: 0.9})}
    assert len(found) == 189
    assert found["R22_S11"].value == 0.9
    assert np.isnan(found["R22_S12"].value)
    width, height = np.ptp(found["R22_S11"].corners, axis=0)
    assert width == pytest.approx(camera.detector(94).width * 0.01)
    assert height == pytest.approx(camera.detector(94).height * 0.01)


def test_a_metric_is_found_with_its_unit() -> None:
    bundle = {"alertProduction": [{"metric": "seeing", "value": 0.8, "unit": "arcsec"}]}
    assert metric_of_bundle(bundle, "seeing") == (0.8, "arcsec")
    value, unit = metric_of_bundle(bundle, "depth")
    assert np.isnan(value)
    assert unit == ""
