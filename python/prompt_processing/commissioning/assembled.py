"""Assemble a raw detector for a look at it, without calibrations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from prompt_processing.instruments import Camera, Detector, RawFrame

__all__ = ["assembled", "draw_detectors", "preview"]

_LONGEST_SIDE = 1200
"""Largest size of a picture of one detector, pixels."""
_SIDE_IN_MOSAIC = 256
"""Largest size of each of several."""


def assembled(frame: RawFrame, detector: Detector) -> NDArray[np.float32]:
    """Return the assembled image, in electrons above the overscan.

    Parameters
    ----------
    frame
        Raw frame.
    detector
        Detector, which has the gains.

    Returns
    -------
    image : `~numpy.ndarray` of float32, shape (height, width)
        The median of each amplifier's overscan is subtracted, where it has one.
    """
    image = np.zeros(frame.shape, np.float32)
    for segment in frame.segments:
        overscan = segment.data[segment.serial_overscan]
        level = np.float32(np.median(overscan)) if overscan.size else np.float32(0)
        gain = np.float32(detector.amplifier(segment.name).gain)
        image[segment.target] = segment.oriented(segment.data[segment.data_section] - level) * gain
    return image


def draw_detectors(path: Path, camera: Camera, images: Mapping[int, NDArray[np.float32]], title: str) -> None:
    """Draw one detector with the outlines of its amplifiers, or several in the focal plane.

    Parameters
    ----------
    path
        Picture to write.
    camera
        The camera.
    images
        Assembled images by detector; of several, a `preview` suffices.
    title
        Line above the picture.
    """
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots()
    if len(images) == 1:
        ((number, image),) = images.items()
        detector = camera.detector(number)
        low, high = _limits(image)
        axes.imshow(
            _binned(image, _LONGEST_SIDE),
            origin="lower", cmap="gray", vmin=low, vmax=high,
            extent=(-0.5, image.shape[1] - 0.5, -0.5, image.shape[0] - 0.5), interpolation="nearest",
        )  # fmt: skip
        if len(detector.amplifiers) > 1:
            for amplifier in detector.amplifiers:
                corner = (amplifier.x0 - 0.5, amplifier.y0 - 0.5)
                axes.add_patch(
                    Rectangle(corner, amplifier.columns, amplifier.rows, fill=False, ec="tab:orange", lw=0.6)
                )
                axes.annotate(amplifier.name, corner, color="tab:orange", fontsize=7, va="bottom")
        axes.set_xlabel("column")
        axes.set_ylabel("row")
    else:
        _draw_mosaic(axes, camera, images)
    axes.set_title(title, fontsize=9, parse_math=False)
    figure.savefig(path, dpi=110)


def preview(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a smaller image, for a mosaic: the images of a whole camera need gigabytes."""
    return _binned(image, _SIDE_IN_MOSAIC)


def _draw_mosaic(axes: Axes, camera: Camera, images: Mapping[int, NDArray[np.float32]]) -> None:
    low, high = _limits(np.concatenate([image.ravel() for image in images.values()])[np.newaxis])
    detectors = [camera.detector(number) for number in images]
    for detector, image in zip(detectors, images.values(), strict=True):
        half = camera.pixel_mm / 2 * np.array([detector.width, detector.height])
        # Detectors turned by about 180 degrees are common; smaller angles do not show.
        turned = image[::-1, ::-1] if 90 < detector.yaw_deg % 360 < 270 else image
        axes.imshow(
            _binned(turned, _SIDE_IN_MOSAIC), origin="lower", cmap="gray", vmin=low, vmax=high,
            extent=(
                detector.x_mm - half[0], detector.x_mm + half[0],
                detector.y_mm - half[1], detector.y_mm + half[1],
            ),
        )  # fmt: skip
        axes.annotate(
            detector.name, (detector.x_mm, detector.y_mm), color="tab:orange", fontsize=6, ha="center"
        )
    margin = camera.pixel_mm * max(max(one.width, one.height) for one in detectors)
    axes.set_xlim(min(one.x_mm for one in detectors) - margin, max(one.x_mm for one in detectors) + margin)
    axes.set_ylim(min(one.y_mm for one in detectors) - margin, max(one.y_mm for one in detectors) + margin)
    axes.set_aspect("equal")
    axes.set_xlabel("focal plane x, mm")
    axes.set_ylabel("focal plane y, mm")


def _binned(image: NDArray[np.float32], longest: int) -> NDArray[np.float32]:
    step = max(1, -(-max(image.shape) // longest))
    height, width = (size // step * step for size in image.shape)
    blocks = image[:height, :width].reshape(height // step, step, width // step, step)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _limits(image: NDArray[np.float32]) -> tuple[float, float]:
    step = max(1, image.size // 200_000)
    sample = image.ravel()[::step]
    low, middle, high = np.percentile(sample, [1, 50, 99.5])
    return float(low), float(max(high, middle + (middle - low) + 1))
