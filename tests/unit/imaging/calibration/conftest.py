"""Small star fields with a known truth, and the raws that a camera would read of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from prompt_processing.images import Exposure, VisitInfo
from prompt_processing.instruments import Camera, Detector, RawFrame, Segment, detector_wcs, load_camera


@dataclass
class StarField:
    """Stars on a flat sky, drawn as Gaussians whose width changes over the image.

    `exposure` makes electrons; `reference` is the catalogue of the same stars; `predicted_wcs` is what an
    announced pointing would give, off by `pointing_error` (arcsec) and `rotation_error` (degrees).
    """

    shape: tuple[int, int] = (700, 700)
    n_stars: int = 160
    fwhm: float = 4.0
    variation: float = 0.0
    sky: float = 800.0
    read_noise: float = 6.0
    njy_per_electron: float = 2.0
    flux_range: tuple[float, float] = (3e3, 3e5)
    pointing_error: tuple[float, float] = (0.0, 0.0)
    rotation_error: float = 0.0
    seed: int = 1
    camera: Camera = field(default_factory=lambda: load_camera("LSSTCam").miniature(88, 350))

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        height, width = self.shape
        # On a jittered grid, so that no two stars blend.
        side = int(np.ceil(np.sqrt(self.n_stars)))
        columns, rows = np.meshgrid(np.arange(side), np.arange(side))
        jitter = rng.uniform(0.25, 0.75, (2, side * side))
        chosen = rng.permutation(side * side)[: self.n_stars]
        self.x = ((columns.ravel() + jitter[0]) * width / side)[chosen]
        self.y = ((rows.ravel() + jitter[1]) * height / side)[chosen]
        self.flux = np.exp(rng.uniform(*np.log(self.flux_range), self.n_stars))

    @property
    def detector(self) -> Detector:
        return self.camera.detector(94)

    def true_wcs(self) -> WCS:
        return detector_wcs(self.camera, self.detector, 150.0, -30.0, 25.0)

    def predicted_wcs(self) -> WCS:
        east, north = self.pointing_error
        ra = 150.0 + east / 3600 / np.cos(np.radians(30.0))
        return detector_wcs(self.camera, self.detector, ra, -30.0 + north / 3600, 25.0 + self.rotation_error)

    def sigma_at(self, x: float) -> float:
        return self.fwhm / 2.3548 * (1 + self.variation * (2 * x / self.shape[1] - 1))

    def light(self) -> np.ndarray:
        """Expected electrons without the sky."""
        image = np.zeros(self.shape)
        rows, columns = np.mgrid[-20:21, -20:21]
        for x, y, flux in zip(self.x, self.y, self.flux, strict=True):
            column, row = round(x), round(y)
            sigma = self.sigma_at(x)
            profile = np.exp(-((columns + column - x) ** 2 + (rows + row - y) ** 2) / (2 * sigma**2))
            stamp = flux / (2 * np.pi * sigma**2) * profile
            y0, x0 = max(row - 20, 0), max(column - 20, 0)
            y1, x1 = min(row + 21, self.shape[0]), min(column + 21, self.shape[1])
            image[y0:y1, x0:x1] += stamp[y0 - row + 20 : y1 - row + 20, x0 - column + 20 : x1 - column + 20]
        return image

    def exposure(self, noise_seed: int = 7) -> Exposure:
        rng = np.random.default_rng([self.seed, noise_seed])
        expected = self.light() + self.sky
        image = expected + rng.normal(size=self.shape) * np.sqrt(expected + self.read_noise**2)
        exposure = Exposure.blank(self.shape, wcs=self.predicted_wcs(), visit_info=self.visit_info())
        exposure.image[:] = image
        exposure.variance[:] = np.maximum(image, 1) + self.read_noise**2
        return exposure

    def visit_info(self) -> VisitInfo:
        return VisitInfo("LSSTCam", 2025060900578, 94, "r_57", "r", 60836.3, 30.0, 150.0, -30.0, 25.0)

    def reference(self) -> Table:
        ra, dec = self.true_wcs().all_pix2world(self.x, self.y, 0)
        flux = self.flux * self.njy_per_electron
        return Table(
            {
                "id": np.arange(1000, 1000 + self.n_stars),
                "ra": ra,
                "dec": dec,
                "r_flux": flux,
                "r_fluxErr": 0.002 * flux,
            }
        )


def read_out(
    electrons: np.ndarray,
    detector: Detector,
    rng: np.random.Generator | None = None,
    level: float = 20_000.0,
    bias: np.ndarray | None = None,
    header: dict | None = None,
) -> RawFrame:
    """Digitize an assembled image as the camera would: gains, flips, overscans; ``bias`` in ADU."""
    segments = []
    for number, amplifier in enumerate(detector.amplifiers):
        counts = np.full(amplifier.raw_shape, level + 10 * number)
        counts += np.linspace(0, 30, amplifier.raw_shape[0])[:, np.newaxis]
        part = electrons[amplifier.target_slices] / amplifier.gain
        if bias is not None:
            part = part + bias[amplifier.target_slices]
        counts[amplifier.data_slices] += part[
            :: -1 if amplifier.flip_y else 1, :: -1 if amplifier.flip_x else 1
        ]
        if rng is not None:
            counts += rng.normal(0, amplifier.read_noise / amplifier.gain, counts.shape)
        rows, columns = amplifier.data_slices
        segments.append(
            Segment(
                name=amplifier.name,
                data=np.rint(counts).astype(np.int32),
                data_section=(rows, columns),
                serial_overscan=(rows, slice(columns.stop, counts.shape[1])),
                parallel_overscan=(slice(rows.stop, counts.shape[0]), columns),
                flip_x=amplifier.flip_x,
                flip_y=amplifier.flip_y,
                x0=amplifier.x0,
                y0=amplifier.y0,
            )
        )
    return RawFrame(header or {"EXPTIME": 30.0}, "LSSTCam", detector.id, tuple(segments))


@pytest.fixture
def star_field():
    return StarField


@pytest.fixture
def digitize():
    return read_out
