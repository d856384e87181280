"""Names and bits of the mask planes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Mask(IntFlag):
    """Bits of `Exposure.mask`, with the bit numbers of ``lsst.afw``."""

    BAD = 1 << 0
    SAT = 1 << 1
    INTRP = 1 << 2
    CR = 1 << 3
    EDGE = 1 << 4
    DETECTED = 1 << 5
    DETECTED_NEGATIVE = 1 << 6
    SUSPECT = 1 << 7
    NO_DATA = 1 << 8
    CROSSTALK = 1 << 9
    STREAK = 1 << 10
    SAT_TEMPLATE = 1 << 11
    INJECTED = 1 << 12
    INJECTED_TEMPLATE = 1 << 13

    @classmethod
    def plane_numbers(cls) -> dict[str, int]:
        """Return the bit number of each plane by name."""
        return {name: flag.value.bit_length() - 1 for name, flag in cls.__members__.items()}


UNUSABLE = Mask.BAD | Mask.SAT | Mask.CR | Mask.EDGE | Mask.NO_DATA
"""Pixels whose value does not measure the sky."""

UNMEASURED = UNUSABLE & ~Mask.EDGE | Mask.SAT_TEMPLATE
"""Pixels of a difference image that fits of its sources leave out."""


def renumbered(mask: NDArray[Any], bits: Mapping[int, int]) -> NDArray[np.int32]:
    """Return a mask of a file with the bits of `Mask`.

    Parameters
    ----------
    mask : `~numpy.ndarray` of integers
        Mask as stored.
    bits
        Value of our bit, by the number of the bit in the file; other bits are dropped.
    """
    # Most images have few of the planes.
    present = int(np.bitwise_or.reduce(mask, axis=None))
    moves = [(1 << number, value) for number, value in bits.items() if present >> number & 1]
    result = (mask & sum(bit for bit, value in moves if value == bit)).astype(np.int32)
    for bit, value in moves:
        if value != bit:
            result |= np.where(mask & bit, np.int32(value), np.int32(0))
    return result
