"""Fill narrow runs of bad pixels, so that they do not ring through convolutions."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import Mask
from prompt_processing.imaging.row_bands import in_bands

_INTERPOLATED = int(Mask.INTRP)


@numba.njit(cache=True, nogil=True)
def _fill_rows(image, variance, mask, planes, avoid, max_width, start, stop):  # type: ignore[no-untyped-def]
    width = image.shape[1]
    for y in range(start, stop):
        x = 0
        while x < width:
            if not mask[y, x] & planes:
                x += 1
                continue
            first = x
            while x < width and mask[y, x] & planes:
                x += 1
            left, right = first - 1, x
            if right - first > max_width:
                continue
            has_left = left >= 0 and not mask[y, left] & avoid
            has_right = right < width and not mask[y, right] & avoid
            if not (has_left or has_right):
                continue
            for column in range(first, right):
                share = np.float32((column - left) / (right - left))
                if not has_left:
                    share = np.float32(1)
                elif not has_right:
                    share = np.float32(0)
                value = noise = np.float32(0)
                if has_left:
                    value += (1 - share) * image[y, left]
                    noise += (1 - share) * variance[y, left]
                if has_right:
                    value += share * image[y, right]
                    noise += share * variance[y, right]
                image[y, column] = value
                variance[y, column] = noise
                mask[y, column] |= _INTERPOLATED


def interpolate_bad_columns(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    planes: Mask = Mask.BAD,
    max_width: int = 8,
) -> None:
    """Interpolate linearly along rows, in place, and mark ``INTRP``; the other planes stay set.

    Parameters
    ----------
    image, variance, mask : `~numpy.ndarray`, shape (height, width)
        The image in any unit; the variance becomes that of the neighbours.
    planes : `Mask`
        Pixels to fill.
    max_width : `int`
        Longest run to fill, pixels; the middle of longer runs is unconstrained.
    """
    avoid = int(planes | Mask.SAT | Mask.NO_DATA)

    def fill(start: int, stop: int) -> None:
        _fill_rows(image, variance, mask, int(planes), avoid, max_width, start, stop)

    in_bands(fill, image.shape[0])
