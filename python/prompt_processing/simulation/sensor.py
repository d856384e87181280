"""Properties of a simulated detector: response, dark current, bias pattern and defects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.instruments import Amplifier, Detector
from prompt_processing.instruments.description.document import RawDocument

PIXEL_RESPONSE_SCATTER = 0.007
"""Rms of a pixel's sensitivity relative to its neighbours."""

TYPICAL_READOUT = RawDocument(
    layout="segments", pixel_type="int32", largest_value=2**18 - 1, bias_level=(20_000, 27_000)
)
"""Readout in 18 bits."""

_KEYS = {"bias": 1, "dark": 2, "response": 3, "defects": 4}


@dataclass(frozen=True, slots=True, eq=False)
class Sensor:
    """Individual properties of a detector, fixed by the seed and equal in every exposure.

    Attributes
    ----------
    detector : `~prompt_processing.instruments.Detector`
    seed : `int`
    bad_columns : `~numpy.ndarray` of int32, shape (n, 4)
        Boxes ``x0, y0, width, height`` of the assembled image.
    hot_pixels : `~numpy.ndarray` of int32, shape (n, 2)
        x and y.
    readout : `~prompt_processing.instruments.description.document.RawDocument`
        Type, range and level of the counts.
    """

    detector: Detector
    seed: int
    bad_columns: NDArray[np.int32]
    hot_pixels: NDArray[np.int32]
    readout: RawDocument

    @classmethod
    def make(cls, detector: Detector, seed: int, readout: RawDocument = TYPICAL_READOUT) -> Sensor:
        """Draw the sensor for a detector and a seed."""
        rng = cls._rng_of(detector, seed, "defects")
        pixels = detector.width * detector.height
        columns = []
        for _ in range(rng.poisson(max(6 * pixels / 16e6, 1))):
            amplifier = detector.amplifiers[rng.integers(len(detector.amplifiers))]
            length = int(rng.uniform(0.2, 1.0) * amplifier.rows)
            # A trap affects all pixels read through it: up to the far end of the segment.
            bottom = amplifier.y0 == 0
            y0 = amplifier.y0 + (amplifier.rows - length if bottom else 0)
            x0 = amplifier.x0 + int(rng.integers(1, amplifier.columns - 3))
            columns.append((x0, y0, int(rng.integers(1, 4)), length))
        hot = rng.integers(0, (detector.width, detector.height), (rng.poisson(300 * pixels / 16e6), 2))
        return cls(
            detector,
            seed,
            np.array(columns, np.int32).reshape(-1, 4),
            hot.astype(np.int32).reshape(-1, 2),
            readout,
        )

    @staticmethod
    def _rng_of(detector: Detector, seed: int, what: str, more: int = 0) -> np.random.Generator:
        return np.random.default_rng([seed, detector.id, _KEYS[what], more])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the assembled image."""
        return self.detector.height, self.detector.width

    def response(self, band: str) -> NDArray[np.float32]:
        """Return the relative sensitivity of each pixel in a band; shape (height, width), mean about 1."""
        rng = self._rng_of(self.detector, self.seed, "response")
        height, width = self.shape
        response = rng.standard_normal(self.shape, np.float32)
        response *= np.float32(PIXEL_RESPONSE_SCATTER)
        # Illumination and coating depend on colour; the areas of pixels do not.
        of_band = self._rng_of(self.detector, self.seed, "response", sum(map(ord, band)))
        response += 1 + _smooth(of_band, self.shape, 0.01)
        slope_x, slope_y = of_band.normal(0, 0.015, 2)
        response += (slope_x * np.linspace(-1, 1, width)).astype(np.float32)
        response += (slope_y * np.linspace(-1, 1, height)).astype(np.float32)[:, np.newaxis]
        for amplifier in self.detector.amplifiers:
            response[amplifier.target_slices] *= np.float32(of_band.normal(1, 0.004))
        # The field at the edge draws charge from the outermost rows and columns.
        edge = 1 - 0.15 * np.exp(-np.arange(12) / 3.0).astype(np.float32)
        n = min(len(edge), height, width)
        response[:n] *= edge[:n, np.newaxis]
        response[-n:] *= edge[:n][::-1, np.newaxis]
        response[:, :n] *= edge[:n]
        response[:, -n:] *= edge[:n][::-1]
        for number, (x0, y0, columns, rows) in enumerate(self.bad_columns):
            if number % 2 == 0:
                response[y0 : y0 + rows, x0 : x0 + columns] *= np.float32(0.05)
        return response

    def dark_current(self) -> NDArray[np.float32]:
        """Return the dark current, electrons per second; shape (height, width)."""
        rng = self._rng_of(self.detector, self.seed, "dark")
        dark = 0.03 + np.abs(_smooth(rng, self.shape, 0.015))
        # The output amplifiers glow in two corners.
        height, width = self.shape
        glow_x = np.exp(-np.arange(width) / (0.05 * width))
        glow_y = np.exp(-np.arange(height) / (0.05 * height))
        dark += (0.4 * np.outer(glow_y, glow_x + glow_x[::-1])).astype(np.float32)
        dark[self.hot_pixels[:, 1], self.hot_pixels[:, 0]] += 10 ** rng.uniform(
            0.7, 3, len(self.hot_pixels)
        ).astype(np.float32)
        for number, (x0, y0, columns, rows) in enumerate(self.bad_columns):
            if number % 2 == 1:
                dark[y0 : y0 + rows, x0 : x0 + columns] += np.float32(rng.uniform(30, 200))
        return np.asarray(dark, np.float32)

    def bias_pattern(self, amplifier: Amplifier) -> NDArray[np.float32]:
        """Return a segment's pattern above its overscan, ADU; shape (rows, columns), in readout order."""
        number = self.detector.amplifiers.index(amplifier)
        rng = self._rng_of(self.detector, self.seed, "bias", number)
        columns, rows = np.arange(amplifier.columns), np.arange(amplifier.rows)
        # Clocks settle in the first pixels of a row, and the amplifier in the first rows.
        along_row = rng.uniform(3, 12) * np.exp(-columns / rng.uniform(10, 40))
        along_row += rng.normal(0, 0.6, amplifier.columns)
        along_column = rng.uniform(-4, 4) * np.exp(-rows / (amplifier.rows / 6))
        wave = rng.uniform(0.3, 1.0) * np.sin(columns / rng.uniform(20, 60) + rng.uniform(0, 6))
        return (along_row + wave + along_column[:, np.newaxis]).astype(np.float32)

    def bias_level(self, amplifier: Amplifier) -> float:
        """Return the mean level of a segment's overscan, ADU."""
        number = self.detector.amplifiers.index(amplifier)
        rng = self._rng_of(self.detector, self.seed, "bias", 1000 + number)
        low, high = self.readout.bias_level
        return float(rng.uniform(low, high))

    def defect_boxes(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield ``x0, y0, width, height`` of all defects."""
        for x0, y0, width, height in self.bad_columns:
            yield int(x0), int(y0), int(width), int(height)
        for x, y in self.hot_pixels:
            yield int(x), int(y), 1, 1


def _smooth(rng: np.random.Generator, shape: tuple[int, int], rms: float) -> NDArray[np.float32]:
    """Return a smooth random surface: a cubic spline through a 6 x 6 grid."""
    grid = rng.normal(0, rms, (6, 6))
    rows, columns = np.linspace(0, 5, shape[0]), np.linspace(0, 5, shape[1])
    # A spline is separable: two small interpolations and one product instead of 16 million evaluations.
    along_y = np.stack(
        [ndimage.map_coordinates(e, [rows], order=3, mode="nearest") for e in np.eye(6)], axis=-1
    )
    along_x = np.stack([ndimage.map_coordinates(e, [columns], order=3, mode="nearest") for e in np.eye(6)])
    return np.asarray(along_y.astype(np.float32) @ grid.astype(np.float32) @ along_x.astype(np.float32))
