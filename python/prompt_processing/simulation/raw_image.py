"""Simulate one detector's raw of one exposure, with its truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from scipy import ndimage

from prompt_processing.images import Psf
from prompt_processing.instruments import Camera, RawFrame, RawKey, detector_wcs
from prompt_processing.instruments.raw_writer import format_sidecar, write_raw

from .pair import NO_TEMPLATE, TemplateNoise, add_expected_snr, draw_scene, known_psf
from .planning import PlannedExposure
from .raw_header import raw_header, raw_key
from .readout import expose_sensor, read_segments
from .scene import Frame, gnomonic, truth_of
from .sensor import Sensor
from .sky import SkyCatalogue

_EDGE_PIXELS = 12
"""Sources closer to the edge than this are not marked as clear."""


@dataclass(slots=True, eq=False)
class RawImage:
    """Raw with its truth.

    Attributes
    ----------
    key
        Key in the image bucket.
    frame : `~prompt_processing.instruments.RawFrame`
    truth : `~astropy.table.Table`
        As `truth_of`, with ``delta_flux`` (nJy), ``snr`` and ``clear``: no
        saturated, defective or struck pixel within a FWHM, and not at the edge.
        Metadata: see `truth_of_exposure`.
    """

    key: RawKey
    frame: RawFrame
    truth: Table

    def write(self, folder: str | Path) -> Path:
        """Write raw, sidecar and truth below a folder by their keys.

        Returns
        -------
        raw
            ``<folder>/<key>``; beside it ``<stem>.json`` and ``<stem>.truth.parquet``.
        """
        path = Path(folder) / self.key.key
        path.parent.mkdir(parents=True, exist_ok=True)
        write_raw(path, self.frame)
        sidecar = Path(folder) / self.key.sidecar_key()
        sidecar.write_bytes(format_sidecar(self.frame.header))
        self.truth.write(truth_path(path), format="parquet", overwrite=True)
        return path


def truth_path(raw: str | Path) -> Path:
    """Return the path of a raw's truth."""
    path = Path(raw)
    return path.with_name(path.name.partition(".")[0] + ".truth.parquet")


def load_truth(raw: str | Path) -> Table:
    """Read the truth of a raw.

    Parameters
    ----------
    raw
        Path of the raw in the pool.

    Returns
    -------
    truth : `~astropy.table.Table`
        Truth, with the result of `truth_of_exposure` in ``meta["exposure"]``.
    """
    truth = Table.read(truth_path(raw), format="parquet")
    truth.meta["exposure"] = json.loads(truth.meta["exposure_json"])
    return truth


def simulate_raw(
    sky: SkyCatalogue,
    camera: Camera,
    sensor: Sensor,
    planned: PlannedExposure,
    seed: int,
    template: TemplateNoise = NO_TEMPLATE,
    *,
    static: bool = False,
) -> RawImage:
    """Simulate the raw of a detector.

    Parameters
    ----------
    sky : `SkyCatalogue`
    camera : `~prompt_processing.instruments.Camera`
    sensor
        Sensor of one of the camera's detectors.
    planned : `PlannedExposure`
    seed
        Seed of the noise, combined with exposure and detector.
    template
        Noise of the template for pixels of the camera's size; enters the expected signal-to-noise ratio.
    static
        Whether nothing varies, flashes or moves, as on the exposures of a template.
    """
    detector, conditions = sensor.detector, planned.conditions
    rng = np.random.default_rng([seed, 20, planned.exposure, detector.id])
    boresight = planned.true_pointing
    wcs = detector_wcs(camera, detector, *boresight)
    frame = Frame(wcs, (detector.height, detector.width), boresight[:2])
    time = None if static else planned.mid_mjd_tai
    truth = truth_of(sky, frame, planned.band, time, planned.exposure_time)
    light = np.zeros(frame.shape, np.float32)
    draw_scene(light, truth, frame, conditions)
    _add_sky(light, frame, planned)
    psf = known_psf([conditions.psf], frame)
    read_variance = float(np.mean([a.read_noise**2 for a in detector.amplifiers]))
    sky_level = conditions.sky_electrons(frame.pixel_arcsec)
    add_expected_snr(truth, psf, light, sky_level, read_variance, conditions.electrons_per_njy, template)
    electrons, saturated, struck = expose_sensor(light, sensor, planned.band, planned.exposure_time, rng)
    truth["clear"] = _clear(truth, psf, saturated | struck, sensor)
    truth.meta = {"exposure_json": json.dumps(truth_of_exposure(planned, frame, psf))}
    frame_read = RawFrame(
        raw_header(planned, detector), planned.instrument, detector.id, read_segments(electrons, sensor, rng)
    )
    return RawImage(raw_key(planned, detector), frame_read, truth)


def truth_of_exposure(planned: PlannedExposure, frame: Frame, psf: Psf) -> dict[str, Any]:
    """Return the true parameters of a detector's exposure, convertible to JSON."""
    ra, dec, rotation = planned.true_pointing
    return {
        "exposure": planned.exposure,
        "group": planned.group,
        "band": planned.band,
        "zero_point": planned.conditions.zero_point + 2.5 * float(np.log10(planned.exposure_time)),
        "electrons_per_njy": planned.conditions.electrons_per_njy,
        "sky_electrons": planned.conditions.sky_electrons(frame.pixel_arcsec),
        "fwhm_arcsec": psf.fwhm_at() * frame.pixel_arcsec,
        "boresight": [ra, dec, rotation],
        "announced": [planned.ra, planned.dec, planned.rotation],
        "wcs": {card.keyword: card.value for card in frame.wcs.to_header(relax=True).cards},
    }


def _add_sky(light: np.ndarray[Any, np.dtype[np.float32]], frame: Frame, planned: PlannedExposure) -> None:
    """Add the sky with its gradient, approximated by a plane over the detector."""
    height, width = frame.shape
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1]], float)
    ra, dec = frame.wcs.all_pix2world(corners[:, 0], corners[:, 1], 0)
    slope_east, slope_north = planned.conditions.sky_gradient
    relative = 1 + gnomonic(ra, dec, *frame.boresight) @ np.array([slope_east, slope_north]) / 3600
    level = planned.conditions.sky_electrons(frame.pixel_arcsec)
    along_x = np.linspace(0, relative[1] - relative[0], width, dtype=np.float32)
    along_y = np.linspace(relative[0], relative[2], height, dtype=np.float32)
    light += np.float32(level) * np.maximum(along_y[:, np.newaxis] + along_x, np.float32(0.2))


def _clear(
    truth: Table, psf: Psf, spoilt: np.ndarray[Any, np.dtype[np.bool_]], sensor: Sensor
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    spoilt = spoilt.copy()
    for x0, y0, columns, rows in sensor.defect_boxes():
        spoilt[y0 : y0 + rows, x0 : x0 + columns] = True
    height, width = spoilt.shape
    reach = round(psf.fwhm_at())
    near = ndimage.maximum_filter(spoilt, size=2 * reach + 1)
    x, y = np.rint(truth["x"]).astype(int), np.rint(truth["y"]).astype(int)
    inside = (
        (x >= _EDGE_PIXELS) & (x < width - _EDGE_PIXELS) & (y >= _EDGE_PIXELS) & (y < height - _EDGE_PIXELS)
    )
    clear = inside.copy()
    clear[inside] = ~near[y[inside], x[inside]]
    return clear
