"""Simulate the files of an observatory whose camera has no description.

Layout of the folder::

    calibration/{Bias,Dark,Flat_<filter>}_<number>.fits   frames of the first afternoon
    earlier/<target>_<number>.fits                        nights before anything changed
    tonight/<target>_<number>.fits
    stars.csv                                             a catalogue, as Pan-STARRS' archive writes it
    truth/<name>.parquet                                  truth of each exposure of the sky
    truth/detector.npz                                    true values of the detector
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from numpy.typing import NDArray

from prompt_processing.images.photo_calib import NJY_ZERO_POINT
from prompt_processing.instruments import Camera, detector_centre, load_camera, load_instrument
from prompt_processing.instruments.raw_frame import Segment

from .electronics import with_drawn_electronics
from .planning import PlannedExposure, density_for, plan_visits
from .raw_image import simulate_raw
from .readout import expose_sensor, read_segments
from .reference import reference_stars
from .sensor import Sensor
from .sky import SkyCatalogue
from .templates import expected_noise

__all__ = ["Observatory", "simulate_observatory"]

CAMERA_NAME = "Kestrel K4"
"""``INSTRUME`` of the files, which no described camera has."""

_N_BIASES, _N_DARKS = 10, 6
_DARK_SECONDS = 120.0
_FLAT_SECONDS = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0)
"""Two flats of each: pairs for the gain, and the range that linearity requires."""
_FULL_FLAT = 0.7
"""Brightest flat, as a share of the full well or of the converter's range."""
_DAYS_BETWEEN = 2
_DITHER_MINUTES = 6.0


@dataclass(frozen=True, slots=True)
class Observatory:
    """The folder of a simulated observatory.

    Attributes
    ----------
    root
        The folder.
    """

    root: Path

    @property
    def calibration(self) -> Path:
        """Folder of bias, dark and flat frames."""
        return self.root / "calibration"

    @property
    def earlier(self) -> Path:
        """Folder of the exposures that templates are made of."""
        return self.root / "earlier"

    @property
    def tonight(self) -> Path:
        """Folder of the exposures with changes."""
        return self.root / "tonight"

    @property
    def catalogue(self) -> Path:
        """Table of reference stars."""
        return self.root / "stars.csv"

    def frames(self, kind: str) -> list[Path]:
        """Return the frames of a kind, such as ``Bias``, in order of time."""
        return sorted(self.calibration.glob(f"{kind}*.fits"))

    def truth(self, raw: Path) -> Table:
        """Return the truth of an exposure, with that of the whole exposure in ``meta["exposure"]``."""
        table = Table.read(self.root / "truth" / f"{raw.stem}.parquet", format="parquet")
        table.meta["exposure"] = json.loads(table.meta["exposure_json"])
        return table

    @property
    def detector(self) -> dict[str, NDArray[np.float64]]:
        """True values: ``gain`` (electrons per ADU), ``read_noise`` (electrons), and three images.

        These are ``bias`` (ADU), ``response`` and ``good``, which is False at defects.
        """
        with np.load(self.root / "truth" / "detector.npz", allow_pickle=False) as found:
            return {name: found[name] for name in found.files}


def simulate_observatory(
    folder: str | Path,
    like: str,
    *,
    seed: int = 1,
    miniature: tuple[int, int] | None = None,
    n_earlier: int = 5,
    n_tonight: int = 2,
    exposure_time: float = 30.0,
) -> Observatory:
    """Simulate raw frames as an amateur's software writes them: one HDU of unsigned 16 bits a file.

    Parameters
    ----------
    folder
        New folder.
    like
        Instrument with the optics and electronics of the camera. The files name another one, and have other
        keywords and names.
    seed
        Random seed.
    miniature
        Columns and rows of the detector; by default the instrument's own.
    n_earlier, n_tonight
        Exposures in which nothing has changed yet, and exposures of tonight.
    exposure_time
        Seconds.

    Raises
    ------
    ValueError
        Raised if the instrument has more than one detector or amplifier, or an overscan.
    """
    observatory = Observatory(Path(folder))
    camera = with_drawn_electronics(load_camera(like))
    if miniature is not None:
        camera = camera.miniature(*miniature)
    amplifiers = [one for detector in camera.detectors.values() for one in detector.amplifiers]
    if len(amplifiers) != 1 or amplifiers[0].serial_overscan:
        raise ValueError(f"{like} is not a camera of one detector with one amplifier without overscan.")
    (detector,) = camera.detectors.values()
    for path in (observatory.calibration, observatory.earlier, observatory.tonight, folder_of_truth(folder)):
        path.mkdir(parents=True)
    sensor = Sensor.make(detector, seed, load_instrument(like).document.raw)
    tonight = plan_visits(
        camera, n_tonight, seed, exposure_time=exposure_time, minutes_between=_DITHER_MINUTES
    )
    earlier = [
        _earlier(planned, nights=_DAYS_BETWEEN * (n_earlier - number))
        for number, planned in enumerate(
            plan_visits(
                camera, n_earlier, seed + 1, exposure_time=exposure_time, minutes_between=_DITHER_MINUTES
            )
        )
    ]
    for frame in _calibration_frames(sensor, earlier[0], seed):
        _write(observatory.calibration / frame.name, frame.header, frame.segments)
    density = density_for(camera, detector, tonight[0].conditions)
    sky = SkyCatalogue(seed, density, tonight[len(tonight) // 2].mid_mjd_tai)
    noise = expected_noise([each.conditions for each in earlier], camera.pixel_scale_arcsec)
    for planned_exposures, where, static in (
        (earlier, observatory.earlier, True),
        (tonight, observatory.tonight, False),
    ):
        for number, planned in enumerate(planned_exposures, start=1):
            raw = simulate_raw(sky, camera, sensor, planned, seed, noise, static=static)
            name = f"{'field7' if static else 'field7_tonight'}_{number:03d}"
            header = _header("LIGHT", planned.begin, planned.exposure_time, planned)
            _write(where / f"{name}.fits", header, raw.frame.segments)
            raw.truth.write(folder_of_truth(folder) / f"{name}.parquet", format="parquet")
    _write_catalogue(observatory.catalogue, sky, camera, tonight[0], seed, density.transient_magnitudes[1])
    _write_detector(folder_of_truth(folder) / "detector.npz", sensor, tonight[0].band)
    return observatory


def folder_of_truth(folder: str | Path) -> Path:
    """Return the folder that a pipeline must not look into."""
    return Path(folder) / "truth"


def _write_detector(path: Path, sensor: Sensor, band: str) -> None:
    (amplifier,) = sensor.detector.amplifiers
    good = np.ones(sensor.shape, np.bool_)
    for x0, y0, width, height in sensor.defect_boxes():
        good[y0 : y0 + height, x0 : x0 + width] = False
    pattern = sensor.bias_pattern(amplifier)
    oriented = pattern[:: -1 if amplifier.flip_y else 1, :: -1 if amplifier.flip_x else 1]
    np.savez_compressed(
        path,
        gain=amplifier.gain,
        read_noise=amplifier.read_noise,
        bias=sensor.bias_level(amplifier) + oriented,
        response=sensor.response(band),
        good=good,
    )


def _earlier(planned: PlannedExposure, nights: int) -> PlannedExposure:
    return replace(planned, begin=planned.begin - nights * u.day, exposure=planned.exposure - nights * 10**6)


@dataclass(frozen=True, slots=True, eq=False)
class _CalibrationFrame:
    """A frame of the afternoon.

    Attributes
    ----------
    name
        Name of the file.
    header
        Keywords.
    segments
        Pixels.
    """

    name: str
    header: dict[str, Any]
    segments: tuple[Segment, ...]


def _calibration_frames(sensor: Sensor, planned: PlannedExposure, seed: int) -> Iterator[_CalibrationFrame]:
    """Yield bias, dark and flat frames, taken a few hours before the first exposure."""
    detector = sensor.detector
    amplifier = detector.amplifiers[0]
    full = min(amplifier.saturation, sensor.readout.largest_value * amplifier.gain)
    per_second = _FULL_FLAT * full / max(_FLAT_SECONDS)
    plan: list[tuple[str, str, float, float]] = [("BIAS", "Bias", 0.0, 0.0)] * _N_BIASES
    plan += [("DARK", "Dark", _DARK_SECONDS, 0.0)] * _N_DARKS
    for seconds in _FLAT_SECONDS:
        plan += [("FLAT", f"Flat_{planned.physical_filter}", seconds, per_second * seconds)] * 2
    begin = planned.begin - 5 * u.hour
    for number, (kind, name, seconds, level) in enumerate(plan, start=1):
        rng = np.random.default_rng([seed, 40, number])
        light: NDArray[np.float32] = np.full((detector.height, detector.width), level, np.float32)
        electrons, _, _ = expose_sensor(light, sensor, planned.band, seconds, rng)
        yield _CalibrationFrame(
            f"{name}_{number:03d}.fits",
            _header(kind, begin, seconds, planned if kind == "FLAT" else None),
            read_segments(electrons, sensor, rng),
        )
        begin += (seconds + 5) * u.s


def _header(kind: str, begin: Time, seconds: float, planned: PlannedExposure | None) -> dict[str, Any]:
    """Return the keywords of a file: neither a number of the exposure nor a WCS or a rotation."""
    header: dict[str, Any] = {
        "IMAGETYP": kind,
        "EXPTIME": seconds,
        "DATE-OBS": begin.utc.isot,
        "INSTRUME": CAMERA_NAME,
        "XPIXSZ": 9.0,
        "YPIXSZ": 9.0,
        "XBINNING": 1,
        "YBINNING": 1,
        "CCD-TEMP": -20.0,
        "SWCREATE": "Starling 2.4",
    }
    if planned is not None:
        header["FILTER"] = f"Sloan {planned.physical_filter}"
    if planned is not None and kind == "LIGHT":
        header |= {
            "OBJECT": "field 7",
            "RA": round(planned.ra, 5),
            "DEC": round(planned.dec, 5),
            "AIRMASS": round(planned.conditions.airmass, 3),
            "FOCALLEN": 1800.0,
            "SITELAT": -31.2733,
            "SITELONG": 149.0644,
            "SITEELEV": 1165.0,
        }
    return header


def _write(path: Path, header: dict[str, Any], segments: Sequence[Segment]) -> None:
    pixels = np.ascontiguousarray(segments[0].oriented(segments[0].data).astype(np.uint16))
    fits.PrimaryHDU(pixels, fits.Header(header)).writeto(path)


def _write_catalogue(
    path: Path, sky: SkyCatalogue, camera: Camera, planned: PlannedExposure, seed: int, faint: float
) -> None:
    (detector,) = camera.detectors.values()
    ra, dec = detector_centre(camera, detector, planned.ra, planned.dec, planned.rotation)
    radius = (np.hypot(detector.width, detector.height) / 2 * camera.pixel_scale_arcsec + 90) / 3600
    stars = reference_stars(sky, ra, dec, float(radius), seed, bright=10.0, faint=faint)
    table = Table({"objID": stars["id"], "raMean": stars["ra"], "decMean": stars["dec"]})
    for band in "griz":
        flux, error = np.asarray(stars[f"{band}_flux"]), np.asarray(stars[f"{band}_fluxErr"])
        table[f"{band}MeanPSFMag"] = np.round(NJY_ZERO_POINT - 2.5 * np.log10(flux), 4)
        table[f"{band}MeanPSFMagErr"] = np.round(2.5 / np.log(10) * error / flux, 5)
    table.write(path, format="ascii.csv")
