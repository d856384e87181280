"""Cosmic rays: pixels sharper than any star can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Mask, Psf
from prompt_processing.imaging.errors import TooManyCosmicRaysError
from prompt_processing.imaging.row_bands import in_bands

from .star_cores import STRIP, UNSEEN, may_have_peak, sharp_star_ratios

_CR = int(Mask.CR)
_BEST_SEEING_ARCSEC = 0.6
_FEWEST_PIXELS = 1.6
"""Seeing of the sharpest images of coarse pixels: arcsec, and in pixels at least."""


@dataclass(frozen=True, slots=True)
class CosmicRayOptions:
    """Thresholds that separate cosmic rays from stars.

    Attributes
    ----------
    min_fwhm : `float`
        FWHM of the sharpest expected stars, pixels, while no PSF is known.
    sharpness : `float`
        A pixel is sharp if a pair of opposite neighbours is fainter than this
        fraction of the PSF's prediction.
    significance : `float`
        Significance of the pixel above the sky.
    contrast_significance : `float`
        Significance of the sharpness.
    growth_significance : `float`
        Significance of both, for neighbours of found pixels.
    halo_significance : `float`
        Significance above the surroundings for adjacent pixels with diffused charge.
    iterations : `int`
        Rounds of growth.
    max_pixels : `int`
        With more pixels the result is implausible and nothing is marked.
    spare_stars : `bool`
        Whether the sharpness of the image's own stars counts where it exceeds that of the PSF or of
        `min_fwhm`.
    """

    min_fwhm: float = 2.6
    sharpness: float = 0.75
    significance: float = 6.0
    contrast_significance: float = 3.5
    growth_significance: float = 1.5
    halo_significance: float = 1.0
    iterations: int = 4
    max_pixels: int = 400_000
    spare_stars: bool = True

    @classmethod
    def for_pixels(cls, scale: float) -> CosmicRayOptions:
        """Return options for a camera whose PSF is unknown yet.

        Stars are never sharper than 2.6 pixels where pixels are fine. On coarse pixels they may be, and the
        default would take their peaks for cosmic rays; what is missed there is found with the PSF.

        Parameters
        ----------
        scale : `float`
            Size of a pixel on the sky, arcsec.
        """
        return cls(min_fwhm=min(cls().min_fwhm, max(_BEST_SEEING_ARCSEC / scale, _FEWEST_PIXELS)))


@numba.njit(cache=True, nogil=True)
def _is_sharp(image, variance, mask, x, y, sky, ratio, significance, contrast):  # type: ignore[no-untyped-def]
    """Return whether a pixel is sharper than a star's peak."""
    height, width = image.shape
    pixel = image[y, x] - sky
    if pixel <= significance * np.sqrt(variance[y, x]):
        return False
    for direction in range(4):
        dx = 0 if direction == 1 else 1
        dy = 0 if direction == 0 else (-1 if direction == 3 else 1)
        if not (0 < x < width - 1 and 0 < y < height - 1):
            continue
        if (mask[y + dy, x + dx] | mask[y - dy, x - dx]) & UNSEEN:
            continue
        pair = 0.5 * (image[y + dy, x + dx] + image[y - dy, x - dx]) - sky
        pair_variance = 0.25 * (variance[y + dy, x + dx] + variance[y - dy, x - dx])
        limit = ratio[direction]
        excess = limit * pixel - pair
        if excess > contrast * np.sqrt(limit * limit * variance[y, x] + pair_variance):
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _find_in_rows(image, variance, mask, sky, ratio, significance, contrast, start, stop, found):  # type: ignore[no-untyped-def]
    n = 0
    height, width = image.shape
    limit = significance * significance
    for y in range(max(start, 1), min(stop, height - 1)):
        for first in range(1, width - 1, STRIP):
            last = min(first + STRIP, width - 1)
            if not may_have_peak(image[y, first:last], variance[y, first:last], sky, significance):
                continue
            for x in range(first, last):
                pixel = image[y, x] - sky
                if pixel <= 0 or pixel * pixel <= limit * variance[y, x]:
                    continue
                if mask[y, x] & (UNSEEN | _CR):
                    continue
                if _is_sharp(image, variance, mask, x, y, sky, ratio, significance, contrast):
                    if n < found.shape[0]:
                        found[n, 0], found[n, 1] = y, x
                    n += 1
    return n


@numba.njit(cache=True, nogil=True)
def _repair(image, variance, mask, pixels, fallback):  # type: ignore[no-untyped-def]
    """Replace pixels by the median of the good ones around them."""
    height, width = image.shape
    values = np.empty(49, np.float32)
    noises = np.empty(49, np.float32)
    new = np.empty((pixels.shape[0], 2), np.float32)
    for k in range(pixels.shape[0]):
        y, x = pixels[k]
        n = 0
        for reach in range(1, 4):
            n = 0
            for yy in range(max(y - reach, 0), min(y + reach + 1, height)):
                for xx in range(max(x - reach, 0), min(x + reach + 1, width)):
                    if not mask[yy, xx] & (UNSEEN | _CR):
                        values[n] = image[yy, xx]
                        noises[n] = variance[yy, xx]
                        n += 1
            if n >= 3:
                break
        new[k, 0] = np.median(values[:n]) if n else fallback
        new[k, 1] = np.median(noises[:n]) if n else variance[y, x]
    for k in range(pixels.shape[0]):
        image[pixels[k, 0], pixels[k, 1]] = new[k, 0]
        variance[pixels[k, 0], pixels[k, 1]] = new[k, 1]


@numba.njit(cache=True, nogil=True)
def _grow(image, variance, mask, pixels, sky, ratio, significance):  # type: ignore[no-untyped-def]
    """Mark neighbours of found pixels that are sharp after those are repaired."""
    height, width = image.shape
    grown = np.empty((8 * pixels.shape[0], 2), np.int32)
    n = 0
    for k in range(pixels.shape[0]):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                y, x = pixels[k, 0] + dy, pixels[k, 1] + dx
                if not (0 < y < height - 1 and 0 < x < width - 1) or mask[y, x] & (UNSEEN | _CR):
                    continue
                if _is_sharp(image, variance, mask, x, y, sky, ratio, significance, significance):
                    mask[y, x] |= _CR
                    grown[n, 0], grown[n, 1] = y, x
                    n += 1
    return grown[:n]


@numba.njit(cache=True, nogil=True)
def _halo(image, variance, mask, pixels, significance):  # type: ignore[no-untyped-def]
    """Return neighbours of found pixels that stand out from the ring around them."""
    height, width = image.shape
    values = np.empty(49, np.float32)
    found = np.empty((8 * pixels.shape[0], 2), np.int32)
    n_found = 0
    for k in range(pixels.shape[0]):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                y, x = pixels[k, 0] + dy, pixels[k, 1] + dx
                if not (0 <= y < height and 0 <= x < width) or mask[y, x] & (UNSEEN | _CR):
                    continue
                n = 0
                for yy in range(max(y - 3, 0), min(y + 4, height)):
                    for xx in range(max(x - 3, 0), min(x + 4, width)):
                        far = abs(yy - y) > 1 or abs(xx - x) > 1
                        if far and not mask[yy, xx] & (UNSEEN | _CR):
                            values[n] = image[yy, xx]
                            n += 1
                if n < 8:
                    continue
                level = np.median(values[:n])
                if image[y, x] - level > significance * np.sqrt(variance[y, x]):
                    mask[y, x] |= _CR
                    found[n_found, 0], found[n_found, 1] = y, x
                    n_found += 1
    return found[:n_found]


def neighbour_ratios(fwhm: float) -> NDArray[np.float64]:
    """Return a Gaussian star's mean neighbour over its peak: rows, columns and both diagonals."""
    sigma = fwhm / 2.3548
    straight = float(np.exp(-0.5 / sigma**2))
    return np.array([straight, straight, straight**2, straight**2])


def _psf_ratios(psf: Psf) -> NDArray[np.float64]:
    """Return the same for a measured PSF, the smallest over the corners and centre of its range."""
    ratios = []
    reach = psf.scale if psf.order else 0.0
    for dx, dy in ((0, 0), (-0.9, -0.9), (0.9, -0.9), (-0.9, 0.9), (0.9, 0.9)):
        image = psf.image_at(psf.x_centre + dx * reach, psf.y_centre + dy * reach)
        c = image.shape[0] // 2
        pairs = [
            image[c, c + 1] + image[c, c - 1],
            image[c + 1, c] + image[c - 1, c],
            image[c + 1, c + 1] + image[c - 1, c - 1],
            image[c - 1, c + 1] + image[c + 1, c - 1],
        ]
        ratios.append(0.5 * np.array(pairs) / image[c, c])
    return np.asarray(np.clip(np.min(ratios, axis=0), 0.05, 0.98))


def _search(
    exposure: Exposure, sky: float, ratios: NDArray[np.float64], options: CosmicRayOptions
) -> NDArray[np.int32]:
    """Return row and column of the pixels that are sharper than ratios say, shape (n, 2)."""
    parts: dict[int, NDArray[np.int32]] = {}

    def search(start: int, stop: int) -> None:
        found = np.empty((options.max_pixels + 1, 2), np.int32)
        n = _find_in_rows(
            exposure.image, exposure.variance, exposure.mask, sky, ratios,
            options.significance, options.contrast_significance, start, stop, found,
        )  # fmt: skip
        parts[start] = found[: min(n, found.shape[0])]

    in_bands(search, exposure.shape[0])
    return np.concatenate([parts[start] for start in sorted(parts)])


def find_cosmic_rays(
    exposure: Exposure,
    options: CosmicRayOptions | None = None,
    sky: float | None = None,
    before_repair: Callable[[NDArray[np.int32]], None] = lambda pixels: None,
) -> int:
    """Mark cosmic rays and fill them from their surroundings, in place.

    Parameters
    ----------
    exposure : `Exposure`
        Electrons, with a variance. With a PSF, its sharpness is used instead
        of ``options.min_fwhm``. Found pixels get ``CR`` and ``INTRP``.
    options : `CosmicRayOptions`, optional
        Thresholds.
    sky : `float`, optional
        Level of the sky; by default the median of a sample of pixels.
    before_repair : callable, optional
        Called with rows and columns of pixels, shape (n, 2), that are marked but not filled yet.

    Returns
    -------
    n_pixels : `int`
        Pixels marked.

    Raises
    ------
    TooManyCosmicRaysError
        Raised if more pixels are sharp than cosmic rays could hit: the noise or
        the expected seeing is then wrong. The exposure is not modified.

    Notes
    -----
    The test is that of R. Lupton's Photo: a pixel is hit if, in any of four
    directions, its two neighbours are fainter than those of the sharpest
    star. Vectorised L.A.Cosmic takes tens of seconds on a full detector.

    Stars that are sharper than expected, as after a jump of the mount or in unexpectedly good focus, are
    recognised by their halos, and set the limit (`star_cores`).
    """
    options = options or CosmicRayOptions()
    image, variance, mask = exposure.image, exposure.variance, exposure.mask
    if sky is None:
        sample, sample_mask = image[::16, ::16], mask[::16, ::16]
        usable = sample[(sample_mask & UNSEEN) == 0]
        sky = float(np.median(usable)) if usable.size else 0.0
    ratios = neighbour_ratios(options.min_fwhm) if exposure.psf is None else _psf_ratios(exposure.psf)
    ratios = ratios * options.sharpness
    pixels = _search(exposure, sky, ratios, options)
    of_stars = None
    if options.spare_stars and len(pixels) <= options.max_pixels:
        of_stars = sharp_star_ratios(image, variance, mask, sky, pixels)
    if of_stars is not None:
        ratios = np.minimum(ratios, of_stars * options.sharpness)
        pixels = _search(exposure, sky, ratios, options)
    if len(pixels) > options.max_pixels:
        raise TooManyCosmicRaysError("Too many pixels are sharper than a star", limit=options.max_pixels)
    everything = []
    for _ in range(options.iterations):
        if not len(pixels):
            break
        mask[pixels[:, 0], pixels[:, 1]] |= _CR
        everything.append(pixels)
        before_repair(pixels)
        _repair(image, variance, mask, pixels, np.float32(sky))
        pixels = _grow(image, variance, mask, pixels, sky, ratios, options.growth_significance)
    if not everything:
        return 0
    before_repair(pixels)
    pixels = np.concatenate([*everything, pixels])
    halo = _halo(image, variance, mask, pixels, options.halo_significance)
    before_repair(halo)
    pixels = np.concatenate([pixels, halo])
    # Repeat, so that no value comes from a pixel that was found later.
    _repair(image, variance, mask, pixels, np.float32(sky))
    mask[pixels[:, 0], pixels[:, 1]] |= int(Mask.INTRP)
    return len(pixels)
