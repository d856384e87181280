"""A single-CCD camera that no package describes, its raws in a form of its own, and their truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

NAME = "TestCam"
WIDTH, HEIGHT = 320, 256
GAIN = {"L": 1.7, "R": 1.35}
"""Electrons per ADU of the left and right amplifier."""
READ_NOISE_ADU = {"L": 4.0, "R": 6.0}
LEVEL = 1000.0
OVERSCAN = 24
DARK = 2.0
"""Dark current, electrons per second."""

DESCRIPTION = f"""
name: {NAME}
recognised_by: [{{CAMERA: tester}}]
header:
  detector: {{constant: 0}}
  physical_filter: {{keywords: [FILTNAM], constant: none}}
  begin: START
  exposure_time: SECONDS
  ra: {{keywords: [TELRA], unit: deg}}
  dec: {{keywords: [TELDEC], unit: deg}}
  rotation: ROTATOR
  observation_type: KIND
  target: WHAT
image_types: {{zero: bias, dark: dark, dome: flat, object: science}}
pixel_mm: 0.01
plate_scale_arcsec_per_mm: 60
parity_flipped_x: false
distortion_bound: 0.001
amplifier_kinds:
  chip:
    # Nominal values that calibrations must replace.
    gain: 1.0
    read_noise: 9.0
    saturation: 90000
    columns: {WIDTH + 2 * OVERSCAN}
    rows: {HEIGHT}
    amplifiers:
      - name: L
        data: "[1:{WIDTH // 2},1:{HEIGHT}]"
        overscan: "[{WIDTH + 1}:{WIDTH + OVERSCAN},1:{HEIGHT}]"
        detector_section: "[1:{WIDTH // 2},1:{HEIGHT}]"
      - name: R
        data: "[{WIDTH // 2 + 1}:{WIDTH},1:{HEIGHT}]"
        overscan: "[{WIDTH + OVERSCAN + 1}:{WIDTH + 2 * OVERSCAN},1:{HEIGHT}]"
        detector_section: "[{WIDTH // 2 + 1}:{WIDTH},1:{HEIGHT}]"
detectors: [{{id: 0, name: chip, kind: chip}}]
filters: {{red: r, none: white}}
"""


def write_instrument(folder: Path) -> Path:
    """Write the camera's folder, and return the folder above it, for the search path."""
    (folder / "testcam").mkdir(parents=True)
    (folder / "testcam" / "instrument.yaml").write_text(DESCRIPTION)
    return folder


@dataclass
class SmallCamera:
    """The camera's properties, and its raws.

    Attributes
    ----------
    seed
        Seed of pixels and noise.
    curve
        Loss of signal: ``adu = true - curve * true^2``.
    crosstalk
        Share of the left amplifier's signal in the right one.
    """

    seed: int = 1
    curve: float = 0.0
    crosstalk: float = 0.0
    response: np.ndarray = field(init=False)
    bias: np.ndarray = field(init=False)
    hot: tuple[int, int] = (200, 40)
    dead_column: tuple[int, int, int] = (77, 100, 250)
    _count: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        yy, xx = np.mgrid[:HEIGHT, :WIDTH]
        self.response = 1 + rng.normal(0, 0.01, (HEIGHT, WIDTH)) + 0.05 * (xx / WIDTH - 0.5)
        column, first, last = self.dead_column
        self.response[first:last, column] *= 0.2
        self.bias = 5 * np.exp(-xx / 20.0) + 3 * np.sin(yy / 30.0)

    def raw(self, light: np.ndarray | float, seconds: float, dark: bool = True) -> np.ndarray:
        """Return the file's pixels (ADU) for light in electrons."""
        self._count += 1
        rng = np.random.default_rng([self.seed, self._count])
        electrons = np.broadcast_to(np.asarray(light, float), (HEIGHT, WIDTH)) * self.response
        current = np.full((HEIGHT, WIDTH), DARK if dark else 0.0)
        current[self.hot[1], self.hot[0]] += 400.0
        electrons = rng.poisson(electrons + current * seconds).astype(float)
        halves = {"L": slice(0, WIDTH // 2), "R": slice(WIDTH // 2, WIDTH)}
        signals = {name: electrons[:, columns] / GAIN[name] for name, columns in halves.items()}
        signals["R"] = signals["R"] + self.crosstalk * signals["L"]
        signals = {name: signal - self.curve * signal**2 for name, signal in signals.items()}
        pixels = np.zeros((HEIGHT, WIDTH + 2 * OVERSCAN))
        for number, (name, columns) in enumerate(halves.items()):
            pixels[:, columns] = signals[name] + self.bias[:, columns]
            pixels[:, columns] += rng.normal(LEVEL, READ_NOISE_ADU[name], (HEIGHT, WIDTH // 2))
            start = WIDTH + number * OVERSCAN
            pixels[:, start : start + OVERSCAN] = rng.normal(LEVEL, READ_NOISE_ADU[name], (HEIGHT, OVERSCAN))
        return np.clip(np.rint(pixels), 0, 65535).astype(np.uint16)

    def write(
        self,
        path: Path,
        kind: str,
        light: np.ndarray | float,
        seconds: float,
        minute: float,
        **cards: Any,
    ) -> Path:
        """Write a raw, ``minute`` minutes after the night began."""
        header = fits.Header()
        hours, rest = divmod(minute, 60)
        start = f"2026-03-04T{int(hours):02d}:{int(rest):02d}:{(rest % 1) * 60:06.3f}"
        header.update(
            {"CAMERA": "tester", "KIND": kind, "SECONDS": seconds, "START": start, "WHAT": "test", **cards}
        )
        fits.PrimaryHDU(self.raw(light, seconds), header).writeto(path)
        return path

    def write_calibrations(self, folder: Path) -> Iterator[Path]:
        """Write biases, darks and flats of several levels."""
        folder.mkdir(exist_ok=True)
        plan: list[tuple[str, float, float, dict[str, str]]] = [("zero", 0.0, 0.0, {})] * 8
        plan += [("dark", 0.0, 60.0, {})] * 5
        for seconds in (1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0):
            plan += [("dome", 5000.0 * seconds, seconds, {"FILTNAM": "red"})] * 2
        for minute, (kind, light, seconds, cards) in enumerate(plan, 1):
            yield self.write(folder / f"{kind}_{minute:03d}.fits", kind, light, seconds, minute, **cards)
