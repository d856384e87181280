"""Raw frames in ADU above their overscan, assembled on the detector's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_processing.imaging.isr.overscan import fit_overscan
from prompt_processing.instruments import Detector, RawFrame


@dataclass(frozen=True, slots=True, eq=False)
class LevelledFrame:
    """A raw frame without its electronic zero level.

    Attributes
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        ADU. Without an overscan, the zero level is still there.
    levels
        Median level of the overscan by amplifier, ADU; 0 without an overscan.
    read_noise
        Standard deviation of the overscan by amplifier, ADU; NaN without one.
    """

    image: NDArray[np.float32]
    levels: dict[str, float]
    read_noise: dict[str, float]


def level_frame(raw: RawFrame) -> LevelledFrame:
    """Subtract the overscan, trim and assemble.

    Parameters
    ----------
    raw : `RawFrame`
        The raw frame as read.
    """
    image = np.zeros(raw.shape, np.float32)
    levels, read_noise = {}, {}
    for segment in raw.segments:
        data = segment.data[segment.data_section].astype(np.float32)
        overscan = segment.data[segment.serial_overscan]
        levels[segment.name], read_noise[segment.name] = 0.0, float("nan")
        if overscan.shape[1] > 0:
            fit = fit_overscan(np.ascontiguousarray(overscan))
            data -= fit.level[:, np.newaxis]
            levels[segment.name] = float(np.median(fit.level))
            read_noise[segment.name] = fit.read_noise
        image[segment.target] = segment.oriented(data)
    return LevelledFrame(image, levels, read_noise)


def amplifier_boxes(detector: Detector) -> dict[str, tuple[slice, slice]]:
    """Return rows and columns of each amplifier on the assembled image, by name."""
    return {amplifier.name: amplifier.target_slices for amplifier in detector.amplifiers}
