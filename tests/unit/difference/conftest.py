"""Pairs of FITS files as some small camera would write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from prompt_processing.images import Exposure
from prompt_processing.simulation.pair import SimulatedPair, simulate_pair

GAIN = 2.0
"""Electrons per unit of the files."""
ELECTRONS_PER_NJY = 1.7
SKY = 800.0
"""Units of the files."""


@dataclass(frozen=True)
class FilePair:
    science: Path
    template: Path
    pair: SimulatedPair


@pytest.fixture(scope="session")
def simulated() -> SimulatedPair:
    return simulate_pair(31, (700, 760), 0.9, 0.75, density=1.5, transients=6.0, template_rotation=12.0)


@pytest.fixture(scope="session")
def same_grid() -> SimulatedPair:
    return simulate_pair(32, (640, 640), 0.85, 0.75, density=1.5, transients=6.0)


def counts(exposure: Exposure, seed: int) -> NDArray[np.float32]:
    """Return a sky-subtracted image in nJy as raw counts with a sky."""
    del seed
    return np.asarray(exposure.image * (ELECTRONS_PER_NJY / GAIN) + SKY, np.float32)


@pytest.fixture
def write_pair(tmp_path: Path) -> Callable[..., FilePair]:
    """Return a writer of plain FITS files; ``wcs=False`` leaves the WCS out."""

    def write(pair: SimulatedPair, *, wcs: bool = True, template_scale: float = 1.0) -> FilePair:
        paths = []
        for name, exposure, scale in (
            ("science", pair.science, 1.0),
            ("template", pair.template, template_scale),
        ):
            header = exposure.wcs.to_header() if wcs else fits.Header()
            header["GAIN"] = GAIN / scale
            path = tmp_path / f"{name}.fits"
            fits.PrimaryHDU(counts(exposure, 1) * np.float32(scale), header).writeto(path, overwrite=True)
            paths.append(path)
        return FilePair(*paths, pair)

    return write
