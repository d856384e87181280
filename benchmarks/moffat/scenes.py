"""Simulate a science image and its template without a camera, to test, tune and compare subtraction."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numba
import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Mask, PhotoCalib, Psf, polynomial_terms

from .exposure import NJY_PER_ELECTRON, add_cosmic_rays, observe

PIXEL_ARCSEC = 0.2
POINTS_PER_GALAXY = 80
ALONE = 20.0
"""Least distance of two changes, pixels: the sky does not change twice in one place."""


@dataclass(frozen=True, slots=True)
class PairScene:
    """The contents and quality of a pair of images.

    Attributes
    ----------
    shape : `tuple` of `int`
        Height and width of the science image, pixels.
    science_fwhm, template_fwhm : `float`
        Seeing, arcsec.
    stars, galaxies, transients, variables, movers : `int`
        Numbers over the whole image. Half of the transients lie in galaxies.
    sky_electrons : `float`
        Sky of the science image per pixel.
    template_exposures : `int`
        Number of exposures of the same sky that the template's depth corresponds to.
    saturation_electrons : `float`
        Pixels above are clipped and bleed along the column.
    masked_fraction : `float`
        Share of science pixels in bad columns and spots.
    missing_fraction : `float`
        Share of the template's columns without data.
    cosmic_rays : `int`
        Tracks in the science image, half of them unflagged.
    astrometric_scatter : `float`
        Amplitude of a smooth error of the science WCS, arcsec.
    rotation : `float`
        Rotation of the science image relative to the template's grid, degrees.
    beta : `float`
        Exponent of the Moffat PSF.
    seed : `int`
        Seed of all random numbers.
    """

    shape: tuple[int, int] = (1000, 1000)
    science_fwhm: float = 0.9
    template_fwhm: float = 0.7
    stars: int = 400
    galaxies: int = 150
    transients: int = 40
    variables: int = 10
    movers: int = 4
    sky_electrons: float = 1200.0
    template_exposures: int = 9
    saturation_electrons: float = 100_000.0
    masked_fraction: float = 0.0
    missing_fraction: float = 0.0
    cosmic_rays: int = 20
    astrometric_scatter: float = 0.0
    rotation: float = 30.0
    beta: float = 3.0
    seed: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class ImagePair:
    """A simulated pair.

    Attributes
    ----------
    science : `Exposure`
        Background-subtracted, nJy.
    patches : `list` of `Exposure`
        Overlapping template patches on their own pixels, nJy.
    stars : `~astropy.table.Table`
        Stars of the science image, with the columns of ``single_visit_star``.
    truth : `~astropy.table.Table`
        Changed sources: ``x, y`` (pixels), ``flux`` (nJy, science minus
        template), ``kind``.
    """

    science: Exposure
    patches: list[Exposure]
    stars: Table
    truth: Table


@dataclass(frozen=True, slots=True)
class _MoffatField:
    """A Moffat PSF whose width and ellipticity vary linearly and quadratically over an image."""

    fwhm: float
    beta: float
    e1: tuple[float, float, float]
    e2: tuple[float, float, float]
    widening: float
    shape: tuple[int, int]

    def parameters(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the quadratic form ``a, b, c`` of the profile's radius at positions; shape (n, 3)."""
        u, v = (x / self.shape[1]) * 2 - 1, (y / self.shape[0]) * 2 - 1
        alpha = self.fwhm * (1 + self.widening * (u**2 + v**2)) / (2 * np.sqrt(2 ** (1 / self.beta) - 1))
        e1 = self.e1[0] + self.e1[1] * u + self.e1[2] * v
        e2 = self.e2[0] + self.e2[1] * u + self.e2[2] * v
        scale = 1.0 / (alpha**2 * (1 - e1**2 - e2**2))
        return np.stack([(1 - e1) * scale, -e2 * scale, (1 + e1) * scale], axis=-1)

    def psf(self, size: int = 41, order: int = 2) -> Psf:
        """Return the PSF in the pipeline's form."""
        fractions = (np.arange(7) + 0.5) / 7
        grid = np.meshgrid(fractions * self.shape[1], fractions * self.shape[0])
        x, y = grid[0].ravel(), grid[1].ravel()
        form = self.parameters(x, y)
        images = np.zeros((len(x), size, size), np.float64)
        middle = np.array([size // 2], float)
        for image, row in zip(images, form, strict=True):
            _draw(image, middle, middle, np.ones(1), row[np.newaxis], self.beta, 0.0)
            image /= image.sum()
        centre_x, centre_y = (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2
        scale = max(self.shape) / 2
        terms = polynomial_terms((x - centre_x) / scale, (y - centre_y) / scale, order)
        coefficients = np.linalg.lstsq(terms, images.reshape(len(x), -1), rcond=None)[0]
        return Psf(coefficients.reshape(-1, size, size).astype(np.float32), order, centre_x, centre_y, scale)


@numba.njit(cache=True, nogil=True)
def _draw(
    image: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    form: NDArray[np.float64],
    beta: float,
    floor: float,
) -> None:
    """Add Moffat profiles, each out to the radius at which it falls below ``floor`` (at most 250 pixels)."""
    height, width = image.shape
    for i in range(x.size):
        a, b, c = form[i, 0], form[i, 1], form[i, 2]
        norm = flux[i] * (beta - 1) / math.pi * math.sqrt(a * c - b * b)
        radius = 250.0
        if floor > 0:
            ratio = max(abs(norm) / floor, 1.0)
            radius = min(math.sqrt(max(ratio ** (1 / beta) - 1, 0.0) / min(a, c)) + 5, radius)
        x0, x1 = max(int(x[i] - radius), 0), min(int(x[i] + radius) + 2, width)
        y0, y1 = max(int(y[i] - radius), 0), min(int(y[i] + radius) + 2, height)
        for row in range(y0, y1):
            dy = row - y[i]
            for column in range(x0, x1):
                dx = column - x[i]
                image[row, column] += norm * (1 + a * dx * dx + 2 * b * dx * dy + c * dy * dy) ** -beta


@dataclass(slots=True, eq=False)
class _Sky:
    """Points of light: every star is one, every galaxy many."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    star: NDArray[np.bool_]
    galaxy_x: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    galaxy_y: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def make_pair(scene: PairScene) -> ImagePair:
    """Draw a pair of images.

    Notes
    -----
    Stars and galaxies (clouds of points) are Moffat profiles sampled at the
    pixels' centres; the two images share only the sky.
    """
    rng = np.random.default_rng(scene.seed)
    height, width = scene.shape
    science_wcs = _tan(width, height, scene.rotation)
    sky = _make_sky(scene, rng)
    changes = _make_changes(scene, sky, rng)
    sigma = math.sqrt(scene.sky_electrons) * NJY_PER_ELECTRON
    science_psf = _psf_field(scene.science_fwhm, scene.beta, scene.shape, rng)
    static_flux = sky.flux.copy()
    changed_flux = static_flux.copy()
    for row in changes:
        if row["source"] >= 0:
            changed_flux[row["source"]] += row["flux"]
    # The error of the science WCS shifts the drawn positions, not the WCS.
    wobble = scene.astrometric_scatter / PIXEL_ARCSEC
    shift = wobble * np.sin(sky.x / 611.0 + 1.0), wobble * np.cos(sky.y / 533.0)
    truth_image = np.zeros(scene.shape)
    form = science_psf.parameters(sky.x, sky.y)
    _draw(truth_image, sky.x + shift[0], sky.y + shift[1], changed_flux, form, scene.beta, sigma * 0.02)
    new = changes[changes["source"] < 0]
    _draw_new(truth_image, new, science_psf, scene.beta, sigma)
    science = observe(truth_image, scene, science_wcs, science_psf.psf(), rng)
    add_cosmic_rays(science, scene, rng)
    patches = _make_patches(scene, sky, static_flux, science_wcs, rng)
    return ImagePair(science, patches, _star_table(sky, changed_flux, science), changes)


def _tan(width: int, height: int, rotation: float) -> WCS:
    """Return a tangential projection of 0.2 arcsec pixels about an image's centre."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [53.1, -28.1]
    wcs.wcs.crpix = [(width + 1) / 2, (height + 1) / 2]
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    scale = PIXEL_ARCSEC / 3600
    wcs.wcs.cd = [[-scale * cosine, scale * sine], [scale * sine, scale * cosine]]
    return wcs


def _psf_field(fwhm: float, beta: float, shape: tuple[int, int], rng: np.random.Generator) -> _MoffatField:
    e1, e2 = rng.normal(0, 0.03, 3), rng.normal(0, 0.03, 3)
    return _MoffatField(
        fwhm / PIXEL_ARCSEC,
        beta,
        (e1[0], e1[1] / 2, e1[2] / 2),
        (e2[0], e2[1] / 2, e2[2] / 2),
        float(rng.uniform(0, 0.03)),
        shape,
    )


def _make_sky(scene: PairScene, rng: np.random.Generator) -> _Sky:
    height, width = scene.shape
    margin = 40.0

    def positions(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return (
            rng.uniform(-margin, width + margin, n),
            rng.uniform(-margin, height + margin, n),
        )

    x, y = positions(scene.stars)
    # Star counts rise by 0.3 dex per magnitude: between AB 15 and 25.5.
    magnitude = np.log10(rng.uniform(10 ** (0.3 * 15.0), 10 ** (0.3 * 25.5), scene.stars)) / 0.3
    gx, gy = positions(scene.galaxies)
    gmag = np.log10(rng.uniform(10 ** (0.4 * 17.5), 10 ** (0.4 * 24.5), scene.galaxies)) / 0.4
    size = np.clip(rng.lognormal(0.9, 0.4, scene.galaxies) * 10 ** (-0.1 * (gmag - 22)), 1.0, 25.0)
    ratio, angle = rng.uniform(0.3, 1, scene.galaxies), rng.uniform(0, math.pi, scene.galaxies)
    radius = rng.gamma(2.0, 1.0, (scene.galaxies, POINTS_PER_GALAXY)) * (size / 1.68)[:, np.newaxis]
    phase = rng.uniform(0, 2 * math.pi, radius.shape)
    du, dv = radius * np.cos(phase), radius * np.sin(phase) * ratio[:, np.newaxis]
    c, s = np.cos(angle)[:, np.newaxis], np.sin(angle)[:, np.newaxis]
    px, py = gx[:, np.newaxis] + c * du - s * dv, gy[:, np.newaxis] + s * du + c * dv
    share = np.repeat(10 ** (-0.4 * (gmag - 31.4)) / POINTS_PER_GALAXY, POINTS_PER_GALAXY)
    return _Sky(
        np.concatenate([x, px.ravel()]),
        np.concatenate([y, py.ravel()]),
        np.concatenate([10 ** (-0.4 * (magnitude - 31.4)), share]),
        np.arange(scene.stars + share.size) < scene.stars,
        gx,
        gy,
    )


def _make_changes(scene: PairScene, sky: _Sky, rng: np.random.Generator) -> Table:
    """Choose the changes between the images."""
    height, width = scene.shape
    edge = 30.0
    sigma = math.sqrt(scene.sky_electrons) * NJY_PER_ELECTRON
    # About five noise-equivalent areas' worth of sky: fluxes from S/N 4 to 400.
    unit = sigma * math.sqrt(2.27 * math.pi * 2 * (scene.science_fwhm / PIXEL_ARCSEC / 2.355) ** 2)
    inside = (sky.galaxy_x > edge) & (sky.galaxy_x < width - edge)
    inside &= (sky.galaxy_y > edge) & (sky.galaxy_y < height - edge)
    hosts = np.flatnonzero(inside)
    rows: list[tuple[float, float, float, str, int]] = []

    def alone(x: float, y: float) -> bool:
        return all(math.hypot(x - row[0], y - row[1]) > ALONE for row in rows)

    for i in range(scene.transients):
        flux = unit * 4 * 10 ** rng.uniform(0, 2)
        while True:
            if i % 2 and hosts.size > scene.transients // 2:
                host = rng.choice(hosts)
                x = float(sky.galaxy_x[host] + rng.normal(0, 3))
                y = float(sky.galaxy_y[host] + rng.normal(0, 3))
            else:
                x, y = float(rng.uniform(edge, width - edge)), float(rng.uniform(edge, height - edge))
            if alone(x, y):
                break
        rows.append((x, y, float(flux), "transient", -1))
    good = sky.star & (sky.x > edge) & (sky.x < width - edge) & (sky.y > edge) & (sky.y < height - edge)
    good &= (sky.flux > 20 * unit) & (sky.flux < 3e5)
    candidates = np.flatnonzero(good)
    for source in rng.choice(candidates, min(scene.variables, candidates.size), replace=False):
        if not alone(float(sky.x[source]), float(sky.y[source])):
            continue
        change = float(sky.flux[source] * rng.choice([-1, 1]) * rng.uniform(0.1, 0.6))
        rows.append((float(sky.x[source]), float(sky.y[source]), change, "variable", int(source)))
    for _ in range(scene.movers):
        x, y = float(rng.uniform(edge, width - edge)), float(rng.uniform(edge, height - edge))
        rows.append((x, y, float(unit * rng.uniform(20, 200)), "mover", -1))
    return Table(
        rows=rows, names=("x", "y", "flux", "kind", "source"), dtype=(float, float, float, "U10", int)
    )


def _draw_new(image: NDArray[np.float64], new: Table, psf: _MoffatField, beta: float, sigma: float) -> None:
    """Draw sources of the science image only; movers are trails of 1 to 24 pixels, mostly short."""
    for i, row in enumerate(new):
        n = 1
        length = 0.0
        if row["kind"] == "mover":
            n, length = 48, 1.0 + 23.0 * ((i * 0.37) % 1.0) ** 2
        steps = np.linspace(-0.5, 0.5, n) * length if n > 1 else np.zeros(1)
        x, y = row["x"] + steps * math.cos(i), row["y"] + steps * math.sin(i)
        _draw(image, x, y, np.full(n, row["flux"] / n), psf.parameters(x, y), beta, sigma * 0.02 / n)


def _make_patches(
    scene: PairScene, sky: _Sky, flux: NDArray[np.float64], science_wcs: WCS, rng: np.random.Generator
) -> list[Exposure]:
    """Draw the template on its own pixels and cut it into four overlapping patches."""
    height, width = scene.shape
    turn = math.radians(scene.rotation)
    side_x = int(abs(width * math.cos(turn)) + abs(height * math.sin(turn))) + 60
    side_y = int(abs(width * math.sin(turn)) + abs(height * math.cos(turn))) + 60
    wcs = _tan(side_x, side_y, 0.0)
    ra, dec = science_wcs.wcs_pix2world(sky.x, sky.y, 0)
    x, y = wcs.wcs_world2pix(ra, dec, 0)
    shape = (side_y, side_x)
    sigma = math.sqrt(scene.sky_electrons / scene.template_exposures) * NJY_PER_ELECTRON
    field_psf = _psf_field(scene.template_fwhm, scene.beta, shape, rng)
    truth = np.zeros(shape)
    _draw(truth, x, y, flux, field_psf.parameters(x, y), scene.beta, sigma * 0.05)
    electrons = truth / NJY_PER_ELECTRON
    variance = (np.maximum(electrons, 0) + scene.sky_electrons) / scene.template_exposures
    saturated = electrons > scene.saturation_electrons
    image = electrons + rng.normal(0, np.sqrt(variance))
    image[saturated] = scene.saturation_electrons
    mask = np.where(saturated, int(Mask.SAT), 0).astype(np.int32)
    missing = int(scene.missing_fraction * side_x)
    if missing:
        mask[:, :missing] |= int(Mask.NO_DATA)
        image[:, :missing] = np.nan
        variance[:, :missing] = np.nan
    image32 = (image * NJY_PER_ELECTRON).astype(np.float32)
    variance32 = (variance * NJY_PER_ELECTRON**2).astype(np.float32)
    psf = field_psf.psf()
    patches = []
    middle_y, middle_x, overlap = side_y // 2, side_x // 2, 50
    for rows in (slice(0, middle_y + overlap), slice(middle_y - overlap, side_y)):
        for columns in (slice(0, middle_x + overlap), slice(middle_x - overlap, side_x)):
            cut_psf = Psf(
                psf.coefficients,
                psf.order,
                psf.x_centre - columns.start,
                psf.y_centre - rows.start,
                psf.scale,
            )
            patches.append(
                Exposure(
                    np.ascontiguousarray(image32[rows, columns]),
                    np.ascontiguousarray(mask[rows, columns]),
                    np.ascontiguousarray(variance32[rows, columns]),
                    wcs.slice((rows, columns)),
                    cut_psf,
                    PhotoCalib(1.0),
                )
            )
    return patches


def _star_table(sky: _Sky, flux: NDArray[np.float64], science: Exposure) -> Table:
    """Return the detectable stars, with the columns of ``single_visit_star``."""
    height, width = science.shape
    inside = sky.star & (sky.x > 5) & (sky.x < width - 6) & (sky.y > 5) & (sky.y < height - 6)
    psf = science.psf
    assert psf is not None
    error = math.sqrt(float(np.median(science.variance)) * psf.effective_area_at(width / 2, height / 2))
    inside &= flux > 10 * error
    index = np.flatnonzero(inside)
    index = index[np.argsort(-flux[index])]
    x, y = sky.x[index], sky.y[index]
    columns, rows = np.rint(x).astype(int), np.rint(y).astype(int)
    table = Table({"id": np.arange(index.size), "x": x, "y": y})
    table["psfFlux"] = flux[index]
    table["psfFluxErr"] = np.full(index.size, error)
    table["snr"] = flux[index] / error
    table["extendedness"] = np.zeros(index.size)
    table["saturated"] = (science.mask[rows, columns] & int(Mask.SAT)) != 0
    return table
