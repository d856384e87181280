"""Sources of the catalogue on an image, with their positions and fluxes at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table, vstack
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.images.photo_calib import NJY_ZERO_POINT

from .colours import band_index
from .point_spread import PointSpread
from .rendering import DrawableSources
from .sky import SkyCatalogue

_ARCSEC = 206264.80624709636


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Position of an image on the sky.

    Attributes
    ----------
    wcs
        True WCS.
    shape
        Height and width, pixels.
    boresight
        RA and Dec (degrees), origin of the PSF's field positions.
    """

    wcs: WCS
    shape: tuple[int, int]
    boresight: tuple[float, float]

    @property
    def centre(self) -> tuple[float, float]:
        """RA and Dec of the middle, degrees."""
        height, width = self.shape
        ra, dec = self.wcs.all_pix2world((width - 1) / 2, (height - 1) / 2, 0)
        return float(ra), float(dec)

    @property
    def radius(self) -> float:
        """Radius of the circle around all corners, degrees."""
        height, width = self.shape
        return float(np.hypot(height, width) / 2 * self.pixel_arcsec / 3600)

    @property
    def pixel_arcsec(self) -> float:
        """Width of a pixel in the middle, arcsec."""
        return float(1 / np.sqrt(abs(np.linalg.det(self.pixels_per_arcsec()))))

    def pixels(self, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixel positions; shape (n, 2)."""
        if len(ra) == 0:
            return np.zeros((0, 2))
        return np.stack(self.wcs.all_world2pix(ra, dec, 0, quiet=True), axis=-1)

    def pixels_per_arcsec(self) -> NDArray[np.float64]:
        """Return the matrix from offsets east and north (arcsec) to pixels, in the middle; shape (2, 2)."""
        height, width = self.shape
        x, y = (width - 1) / 2, (height - 1) / 2
        step = 50.0
        ra, dec = self.wcs.all_pix2world([x, x - step, x + step, x, x], [y, y, y, y - step, y + step], 0)
        offsets = gnomonic(ra, dec, float(ra[0]), float(dec[0]))
        arcsec_per_pixel = np.column_stack([offsets[2] - offsets[1], offsets[4] - offsets[3]]) / (2 * step)
        return np.asarray(np.linalg.inv(arcsec_per_pixel), np.float64)


def gnomonic(
    ra: NDArray[np.float64], dec: NDArray[np.float64], ra0: float, dec0: float
) -> NDArray[np.float64]:
    """Project positions on the tangent plane at a point.

    Returns
    -------
    offsets : `~numpy.ndarray`, shape (n, 2)
        East and north, arcsec.
    """
    d, d0, h = np.radians(dec), np.radians(dec0), np.radians(np.asarray(ra) - ra0)
    cosine = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(h)
    east = np.cos(d) * np.sin(h) / cosine
    north = (np.sin(d) * np.cos(d0) - np.cos(d) * np.sin(d0) * np.cos(h)) / cosine
    return np.stack([east, north], axis=-1) * _ARCSEC


def njy(mag: NDArray[Any]) -> NDArray[np.float64]:
    """Return the flux density of AB magnitudes, nJy."""
    return 10 ** (-0.4 * (np.asarray(mag, float) - NJY_ZERO_POINT))


def truth_of(
    sky: SkyCatalogue,
    frame: Frame,
    band: str,
    mjd: float | None,
    exposure_time: float = 30.0,
    margin: int = 30,
) -> Table:
    """List every source on and just off an image.

    Parameters
    ----------
    sky : `SkyCatalogue`
    frame : `Frame`
    band : `str`
    mjd
        Middle of the exposure, TAI; `None` for the static sky of a template:
        variables at their mean, no transients, no movers.
    exposure_time
        Seconds, for trails.
    margin
        Width around the image in which sources are included, pixels.

    Returns
    -------
    truth : `~astropy.table.Table`
        ``id``, ``kind`` (star, variable, galaxy, transient, supernova, mover), ``ra``, ``dec``, ``x``, ``y``,
        ``flux`` and ``template_flux`` (nJy), ``trail_x``, ``trail_y`` (pixels) and the shape columns
        ``half_light_radius`` (arcsec), ``axis_ratio``, ``position_angle``, ``sersic_index``.
    """
    column = band_index(band)
    circle = (*frame.centre, frame.radius + margin * frame.pixel_arcsec / 3600)
    parts = [_stars(sky.stars(*circle), column, mjd), _galaxies(sky.galaxies(*circle), column)]
    if mjd is not None:
        parts.append(_transients(sky.transients(*circle), column, mjd - sky.epoch_mjd))
        parts.append(_movers(sky.movers(*circle, mjd), column, exposure_time))
    truth = vstack(parts, metadata_conflicts="silent")
    pixels = frame.pixels(truth["ra"].data, truth["dec"].data)
    truth["x"], truth["y"] = pixels[:, 0], pixels[:, 1]
    trail = np.stack([truth["trail_east"], truth["trail_north"]], axis=-1) @ frame.pixels_per_arcsec().T
    truth["trail_x"], truth["trail_y"] = trail[:, 0], trail[:, 1]
    truth.remove_columns(["trail_east", "trail_north"])
    height, width = frame.shape
    inside = (
        (truth["x"] > -margin)
        & (truth["x"] < width + margin)
        & (truth["y"] > -margin)
        & (truth["y"] < height + margin)
    )
    return truth[inside]


def drawable(truth: Table, frame: Frame, psf: PointSpread, per_njy: float = 1.0) -> DrawableSources:
    """Convert a table of `truth_of` to drawable sources.

    Parameters
    ----------
    truth : `~astropy.table.Table`
    frame : `Frame`
    psf : `PointSpread`
    per_njy
        Image units per nJy.
    """
    offsets = gnomonic(truth["ra"].data, truth["dec"].data, *frame.boresight)
    to_pixels = frame.pixels_per_arcsec()
    shape, coma = psf_in_pixels(psf, offsets, to_pixels)
    size = np.asarray(truth["half_light_radius"], float)
    q, pa = np.asarray(truth["axis_ratio"], float), np.asarray(truth["position_angle"], float)
    major, minor = size**2 / q, size**2 * q
    east, north = np.sin(pa), np.cos(pa)
    ellipse = np.empty((len(truth), 2, 2))
    ellipse[:, 0, 0] = major * east**2 + minor * north**2
    ellipse[:, 1, 1] = major * north**2 + minor * east**2
    ellipse[:, 0, 1] = ellipse[:, 1, 0] = (major - minor) * east * north
    n = np.asarray(truth["sersic_index"], float)
    sources = DrawableSources(
        x=np.asarray(truth["x"], float),
        y=np.asarray(truth["y"], float),
        flux=np.asarray(truth["flux"], float) * per_njy,
        extent=_triples(to_pixels @ ellipse @ to_pixels.T),
        bulge=np.clip((n - 1) / 3, 0, 1),
        sersic_index=n,
        psf_shape=shape,
        psf_coma=coma,
    )
    return _with_trails(sources, np.asarray(truth["trail_x"], float), np.asarray(truth["trail_y"], float))


def psf_in_pixels(
    psf: PointSpread, offsets: NDArray[np.float64], to_pixels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evaluate a PSF at offsets from the boresight (n, 2) in pixels: shape (n, 3) and coma (n, 2)."""
    shape, coma = psf.at(offsets[:, 0], offsets[:, 1])
    return _triples(to_pixels @ shape @ to_pixels.T), coma @ to_pixels.T


def _triples(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, 0, 1]], axis=-1)


def _with_trails(
    sources: DrawableSources, trail_x: NDArray[np.float64], trail_y: NDArray[np.float64]
) -> DrawableSources:
    """Replace each source that moves by more than a tenth of a pixel by points along its path."""
    counts = np.ceil(np.hypot(trail_x, trail_y) / 0.5).astype(int)
    counts = np.where(np.hypot(trail_x, trail_y) > 0.1, np.maximum(counts, 2), 1)
    index = np.repeat(np.arange(len(sources)), counts)
    step = np.concatenate([(np.arange(n) + 0.5) / n - 0.5 for n in counts]) if len(counts) else np.zeros(0)
    spread = sources.select(index)
    spread.x = spread.x + step * trail_x[index]
    spread.y = spread.y + step * trail_y[index]
    spread.flux = spread.flux / counts[index]
    return spread


def _part(
    sources: NDArray[Any],
    kind: NDArray[np.str_],
    flux: NDArray[np.float64],
    template_flux: NDArray[np.float64],
) -> Table:
    zero = np.zeros(len(sources))
    return Table(
        {
            "id": sources["id"],
            "kind": kind.astype("U10"),
            "ra": sources["ra"],
            "dec": sources["dec"],
            "x": zero,
            "y": zero,
            "flux": flux,
            "template_flux": template_flux,
            "trail_east": zero,
            "trail_north": zero,
            "half_light_radius": zero,
            "axis_ratio": zero + 1,
            "position_angle": zero,
            "sersic_index": zero,
        }
    )


def _stars(stars: NDArray[Any], column: int, mjd: float | None) -> Table:
    mean = njy(stars["mag"][:, column])
    flux = mean
    if mjd is not None:
        turns = np.where(stars["period"] > 0, mjd / stars["period"].astype(float), 0) + stars["phase"]
        flux = mean * 10 ** (-0.4 * stars["amplitude"] * np.sin(2 * np.pi * turns))
    return _part(stars, np.where(stars["amplitude"] > 0, "variable", "star"), flux, mean)


def _galaxies(galaxies: NDArray[Any], column: int) -> Table:
    flux = njy(galaxies["mag"][:, column])
    part = _part(galaxies, np.full(len(galaxies), "galaxy"), flux, flux)
    for name in ("half_light_radius", "axis_ratio", "position_angle", "sersic_index"):
        part[name] = galaxies[name].astype(float)
    return part


def _transients(transients: NDArray[Any], column: int, days: float) -> Table:
    flux = njy(transients["mag"][:, column] + transients["decline"] * days)
    kind = np.where(transients["host"] >= 0, "supernova", "transient")
    return _part(transients, kind, flux, np.zeros(len(flux)))


def _movers(movers: NDArray[Any], column: int, exposure_time: float) -> Table:
    flux = njy(movers["mag"][:, column])
    part = _part(movers, np.full(len(movers), "mover"), flux, np.zeros(len(flux)))
    part["trail_east"] = movers["rate_ra"].astype(float) * exposure_time / 3600
    part["trail_north"] = movers["rate_dec"].astype(float) * exposure_time / 3600
    return part
