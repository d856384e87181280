"""Make a template of exposures: reject what moves or flashes, and average the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.images import Exposure, Mask, PhotoCalib, Psf
from prompt_processing.images.photo_calib import NJY_ZERO_POINT
from prompt_processing.images.psf import FWHM_PER_SIGMA
from prompt_processing.imaging.errors import NoTemplateOverlapError

from .layers import Layer, Reference, match_sky, reference_of
from .warp import fit_psf

__all__ = ["CoaddOptions", "Coaddition", "coadd_layers"]

_DEFAULT_FWHM = 4.0
"""Seeing of an exposure without PSF, pixels."""


@dataclass(frozen=True, slots=True)
class CoaddOptions:
    """Options of the coaddition.

    Attributes
    ----------
    clip
        Significance of a difference from the median that is rejected, of single pixels and of the image
        smoothed with its PSF.
    floor
        Fraction of the brightest neighbour, in addition to what the PSFs' difference makes, within which
        nothing is rejected: errors of the PSF, the astrometry and the zero point.
    sky_degree
        Degree of the polynomial that matches the skies.
    psf_grid, psf_order
        Points along each side of the patch where the PSFs are averaged, and degree of the polynomial through
        them.
    """

    clip: float = 5.0
    floor: float = 0.05
    sky_degree: int = 2
    psf_grid: int = 9
    psf_order: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class Coaddition:
    """A template and what it is made of.

    Attributes
    ----------
    coadd
        nJy on the patch's pixels; NaN and ``NO_DATA`` where no exposure has a value.
    epochs : `~numpy.ndarray` of uint16, shape (height, width)
        Number of exposures that were averaged.
    layers
        The exposures, with their weights and numbers of rejected pixels.
    summary
        Figures of the patch.
    """

    coadd: Exposure
    epochs: NDArray[np.uint16]
    layers: tuple[Layer, ...]
    summary: dict[str, float | int] = field(default_factory=dict)


def coadd_layers(
    layers: Sequence[Layer], wcs: WCS, shape: tuple[int, int], options: CoaddOptions | None = None
) -> Coaddition:
    """Average exposures with their inverse variances as weights.

    Parameters
    ----------
    layers : sequence of `Layer`
        They are modified.
    wcs : `~astropy.wcs.WCS`
        Projection of the patch.
    shape : `tuple` of `int`
        Height and width of the patch, pixels.
    options : `CoaddOptions`, optional

    Returns
    -------
    coaddition : `Coaddition`

    Raises
    ------
    NoTemplateOverlapError
        Raised if there is no exposure.

    Notes
    -----
    An exposure has one weight on the patch, the inverse of its median variance. A weight by pixel would be
    smaller on the exposure where a star happens to be brighter, which biases its flux and its shape.
    """
    options = options or CoaddOptions()
    if not layers:
        raise NoTemplateOverlapError("No exposure reaches the patch.")
    match_sky(layers, shape, options.sky_degree)
    reference = reference_of(layers, shape)
    psf_of_all = _peak_of_median_psf(layers)
    rejections = []
    for layer in layers:
        rejected = _differing(layer, reference, psf_of_all, options)
        layer.rejected = int(np.count_nonzero(rejected))
        rejections.append(rejected)
    coadd, epochs = _averaged(layers, rejections, reference, wcs, shape)
    coadd.psf = _averaged_psf(layers, shape, options)
    return Coaddition(coadd, epochs, tuple(layers), _summary(coadd, epochs, layers, wcs))


def _peak_of_median_psf(layers: Sequence[Layer]) -> NDArray[np.float64] | None:
    """Return the median of the exposures' PSFs in their middles."""
    images = [_middle_psf(layer) for layer in layers]
    known = [image for image in images if image is not None]
    return None if not known else np.asarray(np.median(known, axis=0))


def _middle_psf(layer: Layer) -> NDArray[np.float64] | None:
    if layer.psf is None:
        return None
    height, width = layer.image.shape
    return layer.psf.image_at((width - 1) / 2, (height - 1) / 2)


def _differing(
    layer: Layer, reference: Reference, psf_of_all: NDArray[np.float64] | None, options: CoaddOptions
) -> NDArray[np.bool_]:
    """Return the pixels of an exposure that differ from the median, shape (height, width)."""
    box = layer.box
    middle, count = reference.image[box], reference.count[box]
    compared = (count > 1) & np.isfinite(layer.image) & ~layer.saturated & np.isfinite(middle)
    if not compared.any():
        return np.zeros(layer.image.shape, np.bool_)
    fwhm = layer.fwhm()
    fwhm = fwhm if np.isfinite(fwhm) else _DEFAULT_FWHM
    own = _middle_psf(layer)
    unlike = options.floor
    if own is not None and psf_of_all is not None:
        # A star's pixels differ by at most this fraction of its peak.
        unlike += float(np.max(np.abs(own - psf_of_all)) / np.max(psf_of_all))
    bright = ndimage.maximum_filter(np.nan_to_num(middle), size=2 * int(np.ceil(2 * fwhm)) + 1)
    floor = np.float32(unlike) * np.maximum(bright, 0)
    difference = np.where(compared, layer.image - middle, np.float32(0))
    # A flash has noisy photons of its own, which must not excuse it: those of the median count.
    expected = np.minimum(layer.variance, np.nan_to_num(reference.variance[box]) * count)
    noise = np.maximum(expected, np.float32(1.0 / layer.weight)) + np.nan_to_num(reference.variance[box])
    rejected = compared & (np.abs(difference) > options.clip * np.sqrt(noise) + floor)
    sigma = fwhm / FWHM_PER_SIGMA
    smooth = ndimage.gaussian_filter(difference, sigma, mode="constant")
    typical = float(np.median(noise[compared]))
    # Of uncorrelated noise, the smoothed variance is this fraction.
    noise_of_smooth = np.maximum(noise, np.float32(typical)) / np.float32(4 * np.pi * sigma**2)
    # A smoothed star is at most half as high as itself.
    rejected |= compared & (np.abs(smooth) > options.clip * np.sqrt(noise_of_smooth) + floor / 2)
    if rejected.any():
        reach = int(np.ceil(fwhm))
        rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        rejected = ndimage.binary_dilation(rejected, rows**2 + columns**2 <= reach**2)
    # A single exposure cannot be compared, and is kept.
    return np.asarray(rejected & compared)


def _averaged(
    layers: Sequence[Layer],
    rejections: Sequence[NDArray[np.bool_]],
    reference: Reference,
    wcs: WCS,
    shape: tuple[int, int],
) -> tuple[Exposure, NDArray[np.uint16]]:
    total, squares, weights = (np.zeros(shape) for _ in range(3))
    bright, bright_weights = np.zeros(shape), np.zeros(shape)
    epochs = np.zeros(shape, np.uint16)
    for layer, rejected in zip(layers, rejections, strict=True):
        box, weight = layer.box, layer.weight
        there = np.isfinite(layer.image)
        used = there & ~layer.saturated & ~rejected
        total[box] += np.where(used, layer.image, 0) * weight
        squares[box] += np.where(used, layer.variance, 0) * weight**2
        weights[box] += used * weight
        epochs[box] += used
        bright[box] += np.where(layer.saturated, layer.image, 0) * weight
        bright_weights[box] += layer.saturated * weight
    with np.errstate(invalid="ignore", divide="ignore"):
        image = (total / weights).astype(np.float32)
        variance = (squares / weights**2).astype(np.float32)
        saturated_image = (bright / bright_weights).astype(np.float32)
    mask = np.zeros(shape, np.int32)
    none = weights == 0
    # Where all exposures differ from each other, their median is the best guess.
    guess = none & np.isfinite(reference.image)
    image[guess], variance[guess] = reference.image[guess], reference.variance[guess]
    epochs[guess] = 1
    only_bright = none & ~guess & (bright_weights > 0)
    image[only_bright] = saturated_image[only_bright]
    variance[only_bright] = (1.0 / bright_weights[only_bright]).astype(np.float32)
    mask[only_bright | ((bright_weights > 0) & (bright_weights >= weights))] |= int(Mask.SAT)
    empty = ~np.isfinite(image)
    mask[empty] |= int(Mask.NO_DATA)
    variance[empty] = np.nan
    return Exposure(image, mask, variance, wcs=wcs, photo_calib=PhotoCalib(1.0)), epochs


def _averaged_psf(layers: Sequence[Layer], shape: tuple[int, int], options: CoaddOptions) -> Psf | None:
    """Average the PSFs, weighted, at the points of a grid that the exposures cover."""
    # Near the edge of the observed part, where most of a small exposure's points may lie, too.
    tops = [layer.box for layer in layers if layer.psf is not None]
    if not tops:
        return None
    y0, y1 = min(rows.start for rows, _ in tops), max(rows.stop for rows, _ in tops)
    x0, x1 = min(columns.start for _, columns in tops), max(columns.stop for _, columns in tops)
    fractions = (np.arange(options.psf_grid) + 0.5) / options.psf_grid
    images, at_x, at_y = [], [], []
    for y in y0 + fractions * (y1 - y0) - 0.5:
        for x in x0 + fractions * (x1 - x0) - 0.5:
            image: NDArray[np.float64] | float = 0.0
            for layer in layers:
                row, column = round(y) - layer.y0, round(x) - layer.x0
                height, width = layer.image.shape
                if layer.psf is None or not (0 <= row < height and 0 <= column < width):
                    continue
                if np.isfinite(layer.image[row, column]):
                    image = image + layer.weight * layer.psf.image_at(x - layer.x0, y - layer.y0)
            if isinstance(image, np.ndarray):
                images.append(image / image.sum())
                at_x.append(x)
                at_y.append(y)
    if not images:
        best = max((layer for layer in layers if layer.psf is not None), key=lambda layer: layer.image.size)
        assert best.psf is not None
        return best.psf.shifted(-best.x0, -best.y0)
    return fit_psf(np.array(images), np.array(at_x), np.array(at_y), shape, options.psf_order)


def _summary(
    coadd: Exposure, epochs: NDArray[np.uint16], layers: Sequence[Layer], wcs: WCS
) -> dict[str, float | int]:
    there = epochs > 0
    scale = float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * 3600
    summary: dict[str, float | int] = {
        "images": len(layers),
        "visits": len({layer.epoch for layer in layers}),
        "coverage": float(np.mean(np.isfinite(coadd.image))),
        "epochs_median": float(np.median(epochs[there])) if there.any() else 0.0,
        "epochs_most": int(epochs.max()),
        "holes": _holes(np.isfinite(coadd.image)),
        "saturated_pixels": int(np.count_nonzero(coadd.has(Mask.SAT))),
        "rejected_pixels": sum(layer.rejected for layer in layers),
    }
    variance = coadd.variance[np.isfinite(coadd.variance)]
    summary["noise_njy"] = float(np.sqrt(np.median(variance))) if variance.size else float("nan")
    if coadd.psf is not None and variance.size:
        rows, columns = np.nonzero(there) if there.any() else np.nonzero(np.isfinite(coadd.image))
        x, y = float(np.median(columns)), float(np.median(rows))
        area = coadd.psf.effective_area_at(x, y)
        summary["seeing_fwhm_arcsec"] = coadd.psf.fwhm_at(x, y) * scale
        depth = 5 * summary["noise_njy"] * np.sqrt(area)
        summary["limiting_magnitude_5sigma"] = float(NJY_ZERO_POINT - 2.5 * np.log10(depth))
    return summary


def _holes(there: NDArray[np.bool_]) -> int:
    """Return the number of pixels without a value within the observed part."""
    return int(np.count_nonzero(ndimage.binary_fill_holes(there) & ~there))
