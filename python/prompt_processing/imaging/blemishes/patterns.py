"""Periodic patterns on the sky of an image: fringes, and interference in the readout."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from prompt_processing.imaging.percentiles import percentiles

BLOCK = 128
"""Width of the blocks whose spectra are compared, pixels. They overlap by half."""

LONGEST = 3
"""Fewest periods in a block; the background's mesh follows longer ones."""

EXCESS = 8.0
"""Mean power above that of other directions on the same scale that makes a pattern. The light of unresolved
stars seen through an elongated PSF reaches three."""

LOCAL_EXCESS = 9.0
"""Power in one block, in units of the noise's, that is the pattern's; noise exceeds it once in a thousand
times."""

LEAST_RMS = 0.1
"""Least rms of a pattern, in units of the noise, that is worth a correction."""

SAMPLE = 100
"""Maximum number of blocks that decide whether there is a pattern."""

MOST_PIXELS = 400_000
"""Number of pixels that measure the noise to a few thousandths."""

TOGETHER = 8
"""Number of blocks that are transformed at once, while they fit the processor's cache."""

GROWTH = 3
"""Pixels around a source that are left out with it."""

PASSES = 4
"""Number of times that the pattern is continued below stars."""


def find_pattern(image: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """Find a periodic pattern on the sky.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Image without its sky.
    usable : `~numpy.ndarray` of bool, shape (height, width)
        Pixels to use.

    Returns
    -------
    pattern : `~numpy.ndarray` of float32, shape (height, width), or `None`
        The pattern, below the stars too; `None` if there is none.

    Notes
    -----
    The power of noise, of stars and of nebulae is about the same in all directions; that of a pattern is
    in few frequencies. These are found in the mean spectrum of all blocks, and the pattern is then what
    exceeds the noise there in each block, so that its amplitude and its period may vary over the image.
    """
    if min(image.shape) < BLOCK or not usable.any():
        return None
    step = max(image.shape[0] * image.shape[1] // MOST_PIXELS, 1)
    sample = image[::step][usable[::step]]
    low, middle, high = percentiles(sample if sample.size else image[usable], (15.865, 50, 84.135))
    noise = 0.5 * (high - low)
    sky = _sky(image, usable, middle, noise)
    values = np.zeros(image.shape, np.float32)
    _take(image, sky, np.float32(middle), values)
    tiles = _Tiles.of(image.shape)
    power = tiles.mean_power(values)
    frequencies, level = _pattern_frequencies(power)
    if not frequencies.any():
        return None
    # Sources leave holes in the spectrum's input.
    level *= 1 / max(float(np.mean(sky)), 0.05)
    pattern = np.zeros(image.shape, np.float32)
    for _ in range(PASSES):
        _take(image, sky, np.float32(middle), pattern)
        pattern = tiles.filtered(pattern, frequencies, LOCAL_EXCESS * level)
    return pattern if float(np.std(pattern[sky])) > LEAST_RMS * noise else None


def _sky(
    image: NDArray[np.float32], usable: NDArray[np.bool_], middle: float, noise: float
) -> NDArray[np.bool_]:
    """Return usable pixels that are not near any that is too bright or too dark for a pattern."""
    found, grown = np.zeros(image.shape, np.bool_), np.zeros(image.shape, np.bool_)
    _beyond(image, usable, np.float32(middle), np.float32(3 * noise), np.float32(5 * noise), found)
    for _ in range(GROWTH):
        _grow(found, grown)
        found, grown = grown, found
    return usable & ~found


@numba.njit(cache=True, nogil=True)
def _take(
    image: NDArray[np.float32], sky: NDArray[np.bool_], middle: np.float32, values: NDArray[np.float32]
) -> None:
    """Replace values by the image's above some level where it shows sky."""
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            value = image[row, column] - middle
            values[row, column] = value if sky[row, column] else values[row, column]


@numba.njit(cache=True, nogil=True)
def _beyond(
    image: NDArray[np.float32],
    usable: NDArray[np.bool_],
    middle: np.float32,
    smooth_limit: np.float32,
    limit: np.float32,
    found: NDArray[np.bool_],
) -> None:
    """Find pixels far from a level, or the mean of whose nine pixels is, with a mirror at the edges."""
    height, width = image.shape
    # The last three rows, unusable pixels as 0, with the mirror.
    rows = np.zeros((3, width + 2), np.float32)
    total = np.zeros(width + 2, np.float32)
    for row in range(-1, height):
        ahead = row + 1
        line = rows[ahead % 3]
        if ahead < height:
            for column in range(width):
                line[column + 1] = image[ahead, column] - middle if usable[ahead, column] else np.float32(0)
            line[0], line[width + 1] = line[1], line[width]
        else:
            line[:] = rows[row % 3]
        if row < 0:
            rows[2] = line
            continue
        for column in range(width + 2):
            total[column] = rows[0, column] + rows[1, column] + rows[2, column]
        line = rows[row % 3]
        for column in range(width):
            mean = (total[column] + total[column + 1] + total[column + 2]) / np.float32(9)
            found[row, column] = (abs(mean) > smooth_limit) | (abs(line[column + 1]) > limit)


@numba.njit(cache=True, nogil=True)
def _grow(found: NDArray[np.bool_], grown: NDArray[np.bool_]) -> None:
    """Add the four neighbours of marked pixels."""
    height, width = found.shape
    for row in range(height):
        above, here, below = found[max(row - 1, 0)], found[row], found[min(row + 1, height - 1)]
        for column in range(1, width - 1):
            grown[row, column] = (
                above[column] | below[column] | here[column - 1] | here[column] | here[column + 1]
            )
        last = width - 1
        grown[row, 0] = above[0] | below[0] | here[0] | here[min(1, last)]
        grown[row, last] = above[last] | below[last] | here[max(last - 1, 0)] | here[last]


def _pattern_frequencies(power: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which frequencies of a mean spectrum stand out, and the power of the noise at each."""
    rows, columns = np.fft.fftfreq(BLOCK, 1 / BLOCK), np.fft.rfftfreq(BLOCK, 1 / BLOCK)
    radius = np.hypot(rows[:, np.newaxis], columns)
    # The few frequencies beyond the shortest period along the axes are compared with that.
    ring = np.minimum(np.rint(radius).astype(int), BLOCK // 2 - 1)
    median = np.array(
        [np.median(power[np.abs(ring - max(r, LONGEST + 1)) <= 1]) for r in range(int(ring.max()) + 1)]
    )
    level = median[ring]
    out = (power > EXCESS * level) & (radius >= LONGEST)
    if not out.any():
        return out, level
    # The window spreads each frequency over its neighbours.
    near = ndimage.maximum_filter(out, 3, mode="wrap") & (power > 1.5 * level) & (radius >= LONGEST)
    return np.asarray(near), level


class _Tiles:
    """Half-overlapping blocks of an image with a mirrored margin, and their spectra."""

    def __init__(self, shape: tuple[int, int], corners: NDArray[np.intp]) -> None:
        self.shape = shape
        self.corners = corners
        wave = np.sin(np.pi * (np.arange(BLOCK) + 0.5) / BLOCK)
        self.window = np.outer(wave, wave).astype(np.float32)

    @classmethod
    def of(cls, shape: tuple[int, int]) -> _Tiles:
        half = BLOCK // 2
        rows, columns = (np.arange(-(-n // half) + 1) * half for n in shape)
        return cls(shape, np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2))

    def _padded(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        half = BLOCK // 2
        widths = [(half, half + -n % half) for n in self.shape]
        return np.pad(image, widths, mode="reflect")

    def _block(self, padded: NDArray[np.float32], corner: NDArray[np.intp]) -> NDArray[np.float32]:
        row, column = corner
        return padded[row : row + BLOCK, column : column + BLOCK]

    def mean_power(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the mean power spectrum of some blocks."""
        padded = self._padded(image)
        chosen = self.corners[:: -(-len(self.corners) // SAMPLE)]
        total = np.zeros((BLOCK, BLOCK // 2 + 1))
        for first in range(0, len(chosen), TOGETHER):
            blocks = np.stack([self._block(padded, corner) for corner in chosen[first : first + TOGETHER]])
            blocks *= self.window
            spectra = fft.rfft2(blocks)
            total += (spectra.real**2 + spectra.imag**2).sum(axis=0)
        return total / len(chosen)

    def filtered(
        self, image: NDArray[np.float32], frequencies: NDArray[np.bool_], least: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return what exceeds some power at some frequencies."""
        padded = self._padded(image)
        out = np.zeros_like(padded)
        for corner in self.corners:
            spectrum = fft.rfft2(self.window * self._block(padded, corner))
            spectrum *= frequencies & (np.abs(spectrum) ** 2 > least)
            self._block(out, corner)[...] += self.window * fft.irfft2(spectrum, (BLOCK, BLOCK))
        half = BLOCK // 2
        return out[half : half + self.shape[0], half : half + self.shape[1]]
