"""A metric of a visit's detectors, in their places in the focal plane: numbers to draw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_processing.instruments import Camera, Detector

__all__ = ["MetricOfDetector", "metric_of_bundle", "outline"]


@dataclass(frozen=True, slots=True)
class MetricOfDetector:
    """A detector with the value of a metric.

    Attributes
    ----------
    name
        Name of the detector.
    corners : `~numpy.ndarray`, shape (4, 2)
        Corners in the focal plane, mm.
    value
        NaN where there is none.
    """

    name: str
    corners: NDArray[np.float64]
    value: float


def metric_of_bundle(bundle: Mapping[str, Iterable[Mapping[str, Any]]], metric: str) -> tuple[float, str]:
    """Return value and unit of a metric in a bundle; NaN and an empty unit if it is not there."""
    for measurements in bundle.values():
        for one in measurements:
            if one["metric"] == metric and math.isfinite(float(one["value"])):
                return float(one["value"]), str(one.get("unit", ""))
    return math.nan, ""


def outline(camera: Camera, values: Mapping[int, float]) -> list[MetricOfDetector]:
    """Return the detectors of a camera with the values of a metric.

    Parameters
    ----------
    values
        Values by detector. Of a camera's other detectors, only those for science are included.
    """
    return [
        MetricOfDetector(one.name, _corners(one, camera.pixel_mm), values.get(number, math.nan))
        for number, one in camera.detectors.items()
        if number in values or one.purpose == "SCIENCE"
    ]


def _corners(detector: Detector, pixel_mm: float) -> NDArray[np.float64]:
    angle = math.radians(detector.yaw_deg)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * [detector.width, detector.height]
    return half * pixel_mm @ turn.T + [detector.x_mm, detector.y_mm]
