"""Small raws of each camera, with a header that its own software could have written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from prompt_processing.instruments import Camera, RawFrame, Segment, load_camera

REAL_HEADERS: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("real_headers.yaml").read_text(encoding="utf-8")
)
HEADER_OF = {
    "LSSTCam": "LSSTCam on sky, 2025",
    "LATISS": "LATISS on sky, 2024",
    "LSSTComCam": "LSSTComCam on sky, 2024",
    "HSC": "HSC on sky, 2013",
}


@pytest.fixture
def real_header() -> Callable[[str], dict[str, Any]]:
    return lambda instrument: dict(REAL_HEADERS[HEADER_OF[instrument]]["header"])


@pytest.fixture
def small_frame(real_header) -> Callable[..., tuple[RawFrame, Camera]]:
    def build(instrument: str, columns: int = 24, rows: int = 20) -> tuple[RawFrame, Camera]:
        header = real_header(instrument)
        camera = load_camera(instrument).miniature(columns, rows)
        number = {"HSC": 50, "LSSTCam": 1}.get(instrument, 0)
        generator = np.random.default_rng(7)
        segments = []
        for amplifier in camera.detector(number).amplifiers:
            pixels = generator.integers(1000, 60000, amplifier.raw_shape)
            kind = np.uint16 if instrument == "HSC" else np.int32
            segments.append(Segment.of(amplifier, pixels.astype(kind)))
        return RawFrame(header, instrument, number, tuple(segments)), camera

    return build
