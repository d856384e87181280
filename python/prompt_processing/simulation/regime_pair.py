"""Draw a pair of images of one of the `.regimes`, with its truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy import ndimage

from . import blemishes
from .pair import tangent_wcs
from .regime_sky import BRIGHTEST_SNR, Sky, make_sky
from .regimes import FrameQuality, Regime
from .rendering import DrawableSources, draw, point_image

__all__ = ["RegimePair", "SimulatedFrame", "simulate_regime"]

PIXEL_ARCSEC = 0.4
_STAMP = 129
_GUIDING_STEPS = 12


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedFrame:
    """An image as a telescope's file holds it.

    Attributes
    ----------
    pixels : `~numpy.ndarray`, shape (height, width)
        Counts: float32, or uint16 if they are rounded.
    header : `~astropy.io.fits.Header`
        WCS, gain and read noise as far as the regime's files have them.
    unusable : `~numpy.ndarray` of bool, shape (height, width)
        Truth: saturated, hot, dark and hit by cosmic rays. In no file.
    fwhm : `float`
        True seeing in the middle of the image: the diameter of the circle whose area the PSF covers at half
        of its maximum, pixels.
    """

    pixels: NDArray[np.float32] | NDArray[np.uint16]
    header: fits.Header
    unusable: NDArray[np.bool_]
    fwhm: float


@dataclass(frozen=True, slots=True, eq=False)
class RegimePair:
    """A pair of images and what changed between them.

    Attributes
    ----------
    science, template : `SimulatedFrame`
        The images.
    truth : `~astropy.table.Table`
        Changes: ``x, y`` (pixels of the science image), ``flux`` (counts of the science image, science minus
        template), ``snr`` (absolute, in the best possible difference), ``kind`` (``transient``, ``variable``,
        ``colour``: a star that differs only because the bands do) and ``clear`` (on usable pixels of both
        images).
    stars : `~astropy.table.Table`
        Unsaturated stars that did not change: ``x, y, snr``, brightest first.
    """

    science: SimulatedFrame
    template: SimulatedFrame
    truth: Table
    stars: Table

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``science.fits`` and ``template.fits``, and return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / "science.fits", folder / "template.fits"
        for path, frame in zip(paths, (self.science, self.template), strict=True):
            fits.PrimaryHDU(frame.pixels, frame.header).writeto(path, overwrite=True)
        return paths


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """The pixels of one image: ``here = matrix @ science_pixels + offset``."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    shape: tuple[int, int]
    quality: FrameQuality
    psf: NDArray[np.float64]

    def places(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([x, y], axis=-1) @ self.matrix.T + self.offset


def simulate_regime(regime: Regime, seed: int, shape: tuple[int, int] = (512, 512)) -> RegimePair:
    """Draw a pair of images.

    Parameters
    ----------
    regime : `Regime`
        Of `.regimes.REGIMES`, or another.
    seed : `int`
        Seed of all random numbers.
    shape : `tuple` of `int`
        Height and width of the science image, pixels.
    """
    rng = np.random.default_rng([seed, 13])
    science, template = _views(regime, shape, rng)
    unit = _one_sigma(science, template)
    sky = make_sky(regime, shape, unit, rng)
    views = (science, template)
    fluxes = (sky.science_flux, sky.template_flux)
    light = [_light(sky, flux, view, unit) for flux, view in zip(fluxes, views, strict=True)]
    frames = [_expose(image, view, rng) for image, view in zip(light, views, strict=True)]
    wcs = _coordinates(science, template) if regime.aligned else (None, None)
    simulated = [
        SimulatedFrame(pixels, _header(view.quality, one), unusable, _true_fwhm(view))
        for (pixels, unusable), view, one in zip(frames, views, wcs, strict=True)
    ]
    truth = _truth(sky, views, light, simulated, unit)
    stars = _unchanged_stars(sky, science, simulated[0], unit)
    return RegimePair(simulated[0], simulated[1], truth, stars)


def _views(regime: Regime, shape: tuple[int, int], rng: np.random.Generator) -> tuple[_View, _View]:
    angle = np.radians(regime.rotation)
    matrix = regime.scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if regime.mirrored:
        matrix = matrix @ np.diag([-1.0, 1.0])
    height, width = shape
    far = np.abs(matrix) @ np.array([width, height])
    # Large enough to contain the science image, whatever the angle.
    there = round(float(far[1])) + 30, round(float(far[0])) + 30
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    offset = np.array([(there[1] - 1) / 2, (there[0] - 1) / 2]) - matrix @ (middle + regime.shift)
    return (
        _View(np.eye(2), np.zeros(2), shape, regime.science, _psf_shape(regime.science, rng)),
        _View(matrix, offset, there, regime.template, _psf_shape(regime.template, rng)),
    )


def _psf_shape(quality: FrameQuality, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the matrix that the profile's variances are multiplied by, pixels squared."""
    angle = rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    long_axis = quality.fwhm * quality.elongation
    return np.outer(along, along) * long_axis**2 + np.outer(across, across) * quality.fwhm**2


def _one_sigma(science: _View, template: _View) -> float:
    """Return the flux of a point source of signal-to-noise ratio 1 on the sky, electrons of depth 1."""
    variances = [_sky_variance(view) for view in (science, template)]
    return 1 / _ideal_snr(1.0, (science, template), variances)


def _sky_variance(view: _View) -> float:
    """Return the noise of the sky in a pixel of the science image, electrons of depth 1 squared."""
    quality = view.quality
    noise = quality.sky + quality.read_noise**2 + quality.gain**2 / 12
    # A template with smaller pixels has more of them, each with less of the light.
    return float(noise * abs(np.linalg.det(view.matrix)) / quality.depth**2)


def _ideal_snr(flux: float, views: tuple[_View, _View], variances: list[float]) -> float:
    """Return the signal-to-noise ratio in the best difference (Zackay, Ofek & Gal-Yam 2016)."""
    power = []
    for view in views:
        back = np.linalg.inv(view.matrix)
        stamp = point_image(_triple(back @ _mean_psf(view) @ back.T), np.zeros(2), _STAMP)
        power.append(np.abs(np.fft.fft2(stamp)) ** 2)
    total = variances[0] * power[1] + variances[1] * power[0]
    return float(abs(flux) * np.sqrt(np.mean(power[0] * power[1] / np.maximum(total, 1e-30))))


def _mean_psf(view: _View) -> NDArray[np.float64]:
    """Return the PSF's shape with the guiding error, whose variance widens it."""
    widening = _guiding(view.quality)[:, 0].var() / 0.3
    return view.psf + np.diag([widening, 0.0])


def _guiding(quality: FrameQuality) -> NDArray[np.float64]:
    """Return the places of a source during the exposure, relative to their mean."""
    if not quality.trail:
        return np.zeros((1, 2))
    # The telescope lingers at both ends, longer at one.
    along = np.linspace(0, 1, _GUIDING_STEPS) ** 1.6 * quality.trail
    return np.stack([along - along.mean(), np.zeros(_GUIDING_STEPS)], axis=-1)


def _true_fwhm(view: _View) -> float:
    """Return the diameter of the circle as large as the PSF's area above half of the maximum."""
    fine = 8
    image = np.zeros((_STAMP * 3,) * 2)
    for dx, dy in fine * _guiding(view.quality):
        stamp = point_image(_triple(view.psf) * fine**2, np.zeros(2), _STAMP * 3)
        image += ndimage.shift(stamp, (dy, dx), order=1)
    # A pixel's width blurs the image, and so does an interpolation.
    image = ndimage.uniform_filter(image, fine)
    if view.quality.resampled:
        taps = np.zeros(2 * fine + 1)
        taps[[0, fine, -1]] = 0.25, 0.5, 0.25
        for axis in (0, 1):
            image = ndimage.convolve1d(image, taps, axis)
    return float(np.sqrt(4 / np.pi * np.count_nonzero(image > image.max() / 2)) / fine)


def _triple(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([matrix[0, 0], matrix[1, 1], matrix[0, 1]])


def _light(sky: Sky, flux: NDArray[np.float64], view: _View, unit: float) -> NDArray[np.float32]:
    """Draw the expected electrons of all sources."""
    image = np.zeros(view.shape, np.float32)
    shown = flux > 0
    electrons = flux[shown] * view.quality.depth
    places = view.places(sky.x[shown], sky.y[shown])
    xx, yy, xy = sky.extent[shown].T
    extent = np.stack([xx, xy, xy, yy], axis=-1).reshape(-1, 2, 2)
    extent = view.matrix @ extent @ view.matrix.T
    height, width = view.shape
    # The PSF widens by a few per cent towards the corners.
    away = ((places[:, 0] / width - 0.5) ** 2 + (places[:, 1] / height - 0.5) ** 2) * 2
    psf = _triple(view.psf)[np.newaxis] * (1 + 0.06 * away)[:, np.newaxis]
    steps = _guiding(view.quality)
    for dx, dy in steps:
        sources = DrawableSources(
            places[:, 0] + dx,
            places[:, 1] + dy,
            electrons / len(steps),
            np.stack([extent[:, 0, 0], extent[:, 1, 1], extent[:, 0, 1]], axis=-1),
            sky.bulge[shown],
            np.where(extent[:, 0, 0] > 0, 1.0, 0.0),
            psf,
            np.zeros((len(places), 2)),
        )
        draw(image, sources, 0.01 * float(np.sqrt(view.quality.sky)))
    _add_halos(image, places, electrons, BRIGHTEST_SNR * 5 * unit * view.quality.depth)
    return image


def _add_halos(
    image: NDArray[np.float32],
    places: NDArray[np.float64],
    electrons: NDArray[np.float64],
    from_electrons: float,
) -> None:
    """Add the ghost of the mirror, beside the star, and the aureole to the brightest stars."""
    height, width = image.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for (px, py), flux in zip(places, electrons, strict=True):
        if flux < from_electrons:
            continue
        ghost = np.hypot(x - px - 0.02 * (px - width / 2), y - py - 0.02 * (py - height / 2))
        outer = 0.12 * min(height, width)
        ring = (ghost < outer) & (ghost > 0.35 * outer)
        image += np.float32(0.01 * flux / max(int(ring.sum()), 1)) * ring
        image += np.float32(0.003 * flux) / (300.0 + (x - px) ** 2 + (y - py) ** 2) / np.float32(np.pi)


def _expose(
    light: NDArray[np.float32], view: _View, rng: np.random.Generator
) -> tuple[NDArray[np.float32] | NDArray[np.uint16], NDArray[np.bool_]]:
    """Return the counts of an image, and which pixels are unusable."""
    quality = view.quality
    image = light + blemishes.sky_light(view.shape, quality, rng)
    image *= blemishes.flat_error(view.shape, quality, rng)
    bad = blemishes.hot_pixels(image, quality, rng)
    noise = rng.standard_normal(view.shape, np.float32)
    image = image + noise * np.sqrt(np.maximum(image, 0) + np.float32(quality.read_noise**2))
    image += blemishes.fixed_pattern(view.shape, quality, rng)
    bad |= blemishes.cosmic_rays(image, quality, rng)
    bad |= blemishes.bleed(image, quality.full_well)
    if quality.resampled:
        # Half a pixel along both axes, there and back: the stars stay where they are.
        for axis, step in ((0, 1), (1, 1), (0, -1), (1, -1)):
            image = (image + np.roll(image, step, axis)) / 2
    return blemishes.digitize(image.astype(np.float32), quality), bad


def _coordinates(science: _View, template: _View) -> tuple[WCS, WCS]:
    """Return projections about the same point of the sky, so that `_View` relates the pixels exactly."""
    here = tangent_wcs(science.shape, 150.0, 2.0, 0.0, PIXEL_ARCSEC)
    there = here.deepcopy()
    there.wcs.cd = here.wcs.cd @ np.linalg.inv(template.matrix)
    there.wcs.crpix = template.matrix @ (here.wcs.crpix - 1) + template.offset + 1
    there.wcs.set()
    return here, there


def _header(quality: FrameQuality, wcs: WCS | None) -> fits.Header:
    header = fits.Header() if wcs is None else wcs.to_header()
    header["BUNIT"] = "adu"
    if quality.tells_gain:
        header["GAIN"], header["RDNOISE"] = quality.gain, quality.read_noise
        header["SATURATE"] = 0.98 * (quality.full_well / quality.gain + quality.pedestal)
    return header


def _truth(
    sky: Sky,
    views: tuple[_View, _View],
    light: list[NDArray[np.float32]],
    frames: list[SimulatedFrame],
    unit: float,
) -> Table:
    science = views[0]
    # Differences by colour are listed where they can be seen.
    change = np.abs(sky.science_flux - sky.template_flux)
    height, width = science.shape
    inside = (sky.x > 0) & (sky.x < width - 1) & (sky.y > 0) & (sky.y < height - 1)
    kinds = np.where((sky.kind == "star") & (change > 3 * unit) & inside, "colour", sky.kind)
    rows = np.flatnonzero(np.isin(kinds, ["transient", "variable", "colour"]))
    delta = sky.science_flux[rows] - sky.template_flux[rows]
    snr, clear = np.zeros(len(rows)), np.zeros(len(rows), bool)
    for i, row in enumerate(rows):
        variances, usable = [], True
        for view, image, frame in zip(views, light, frames, strict=True):
            column, line = np.rint(view.places(sky.x[row], sky.y[row])).astype(int)
            box = (slice(max(line - 1, 0), line + 2), slice(max(column - 1, 0), column + 2))
            own = float(image[box].mean()) if image[box].size else 0.0
            area = abs(np.linalg.det(view.matrix)) / view.quality.depth**2
            variances.append(_sky_variance(view) + own * area)
            usable &= image[box].size == 9 and not frame.unusable[box].any()
        snr[i], clear[i] = _ideal_snr(delta[i], views, variances), usable
    counts = delta * science.quality.depth / science.quality.gain
    table = {"x": sky.x[rows], "y": sky.y[rows], "flux": counts, "snr": snr, "kind": kinds[rows]}
    return Table(table | {"clear": clear})


def _unchanged_stars(sky: Sky, science: _View, frame: SimulatedFrame, unit: float) -> Table:
    height, width = science.shape
    inside = (sky.kind == "star") & (sky.x > 5) & (sky.x < width - 6) & (sky.y > 5) & (sky.y < height - 6)
    # A difference by colour is not a residual.
    inside &= np.abs(sky.science_flux - sky.template_flux) < unit
    rows = np.flatnonzero(inside & (sky.science_flux > 30 * unit))
    columns, lines = np.rint(sky.x[rows]).astype(int), np.rint(sky.y[rows]).astype(int)
    rows = rows[~frame.unusable[lines, columns]]
    rows = rows[np.argsort(-sky.science_flux[rows])]
    return Table({"x": sky.x[rows], "y": sky.y[rows], "snr": sky.science_flux[rows] / unit})
