"""Combine the snaps of a visit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numba
import numpy as np

from prompt_processing.images import UNUSABLE, Exposure, Mask
from prompt_processing.imaging.row_bands import copy_plane, in_bands

_UNUSABLE = int(UNUSABLE)
_CR = int(Mask.CR)
_INTERPOLATED = int(Mask.INTRP)

SNAP_SIGNIFICANCE = 8.0
"""Difference between snaps, in its standard deviations, above which a pixel counts as hit in one of them."""


@numba.njit(cache=True, nogil=True)
def _average(  # type: ignore[no-untyped-def]
    image, variance, mask, other_image, other_variance, other_mask,
    level, other_level, significance, start, stop,
):  # fmt: skip
    """Average the second snap into the first."""
    quarter = np.float32(0.25)
    half = np.float32(0.5)
    for y in range(start, stop):
        for x in range(image.shape[1]):
            first, second = image[y, x], other_image[y, x]
            v1, v2 = variance[y, x], other_variance[y, x]
            bad1, bad2 = mask[y, x] & _UNUSABLE, other_mask[y, x] & _UNUSABLE
            s1, s2 = first - level, second - other_level
            differs = abs(s1 - s2) > significance * np.sqrt(v1 + v2)
            # A star also differs when the seeing changes, but never by half of its flux.
            if differs and not bad1 and not bad2 and min(s1, s2) < half * max(s1, s2):
                bad1, bad2 = (_CR, 0) if s1 > s2 else (0, _CR)
            if bad1 and not bad2:
                # The sky of both is averaged, so that the level has no step.
                image[y, x] = second + half * (level - other_level)
                variance[y, x] = v2
                mask[y, x] = other_mask[y, x] | _INTERPOLATED
            elif bad2 and not bad1:
                image[y, x] = first + half * (other_level - level)
                mask[y, x] |= _INTERPOLATED
            else:
                image[y, x] = half * (first + second)
                variance[y, x] = quarter * (v1 + v2)
                mask[y, x] |= other_mask[y, x]


def combine_snaps(exposures: Sequence[Exposure]) -> Exposure:
    """Average one or two snaps of a visit; take pixels damaged in one from the other.

    Parameters
    ----------
    exposures : sequence of `Exposure`
        Electrons, of one detector, in order of time; not modified.

    Returns
    -------
    combined : `Exposure`
        Average electrons per snap. The visit info is the first one's with the
        middle of all snaps and the sum of their exposure times.

    Raises
    ------
    ValueError
        Raised if there are none or more than two, or if their shapes differ.
    """
    if not 1 <= len(exposures) <= 2:
        raise ValueError(f"A visit has 1 or 2 snaps, not {len(exposures)}.")
    first = exposures[0]
    combined = Exposure(
        copy_plane(first.image), copy_plane(first.mask), copy_plane(first.variance), first.wcs,
        visit_info=first.visit_info, metadata=dict(first.metadata),
    )  # fmt: skip
    if len(exposures) == 1:
        return combined
    other = exposures[1]
    if combined.shape != other.shape:
        raise ValueError(f"The snaps differ in shape: {combined.shape} and {other.shape}.")
    levels = []
    for exposure in exposures:
        good = exposure.image[::16, ::16][(exposure.mask[::16, ::16] & _UNUSABLE) == 0]
        levels.append(np.float32(np.median(good) if good.size else 0.0))

    def average(start: int, stop: int) -> None:
        _average(
            combined.image, combined.variance, combined.mask, other.image, other.variance, other.mask,
            levels[0], levels[1], np.float32(SNAP_SIGNIFICANCE), start, stop,
        )  # fmt: skip

    in_bands(average, combined.shape[0])
    if combined.visit_info is not None and other.visit_info is not None:
        combined.visit_info = replace(
            combined.visit_info,
            mid_mjd_tai=0.5 * (combined.visit_info.mid_mjd_tai + other.visit_info.mid_mjd_tai),
            exposure_time=combined.visit_info.exposure_time + other.visit_info.exposure_time,
        )
    return combined
