"""Cameras that the stack's ``afw.cameraGeom`` wrote."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from prompt_processing.instruments.camera import Amplifier, Camera, Detector, camera_names, load_camera

from ..damaged_files import naming_the_file
from .archive import Archive, Rows, Stored, text_of
from .errors import StackFileError, UnreadableTypeError
from .transforms import PointTransform

__all__ = ["read_camera", "segment_name"]

_LOG = logging.getLogger(__name__)

_PURPOSES = ("SCIENCE", "FOCUS", "GUIDER", "WAVEFRONT")
"""Detector types, in the order of the stack's numbers."""

_ARCSEC = math.degrees(1.0) * 3600.0


@dataclass(frozen=True, slots=True)
class _Optics:
    """Map of the focal plane to the sky.

    Attributes
    ----------
    plate_scale_arcsec_per_mm, distortion, distortion_bound
        As in `Camera`.
    """

    plate_scale_arcsec_per_mm: float
    distortion: tuple[float, ...]
    distortion_bound: float


@naming_the_file("a camera of the stack", StackFileError, UnreadableTypeError)
def read_camera(path: str | Path) -> Camera:
    """Read a camera.

    Gain, read noise, saturation, and the place of each detector are those of the file, as are scale and
    distortion. The file does not have the bands of filters and the parity of the sky; of a camera that
    `load_camera` knows, they and the layout of raw files are taken from there.

    Parameters
    ----------
    path
        FITS file with an archive.

    Raises
    ------
    StackFileError
        Raised if the file has no camera.
    """
    with fits.open(path, memmap=True) as hdus:
        archive = Archive(hdus)
        stored = next(archive.named("Camera"), None)
        if stored is None or len(stored.tables) != 2:
            raise StackFileError(f"{path} has no camera of a version that is read.")
        name = text_of(stored.row(1)["name"])
        known = load_camera(name) if name in camera_names() else None
        if known is None:
            _LOG.warning("Bands and parity of the camera %s are unknown.", name)
        transforms = _Transforms(archive, int(stored.row(1)["transformMap"]))
        detectors = [_detector(archive[int(row["detector"])], transforms, known) for row in stored.tables[0]]
        optics = transforms.optics(max(math.hypot(one.x_mm, one.y_mm) for one in detectors))
        pixel_mm = known.pixel_mm if known is not None else transforms.pixel_mm(detectors[0])
    return Camera(
        name=name,
        detectors={one.id: one for one in detectors},
        pixel_mm=pixel_mm,
        plate_scale_arcsec_per_mm=optics.plate_scale_arcsec_per_mm,
        parity_flipped_x=known.parity_flipped_x if known is not None else False,
        distortion=optics.distortion,
        distortion_bound=optics.distortion_bound,
        filters=known.filters if known is not None else {},
    )


class _Transforms:
    """Transforms between the coordinate systems of a camera."""

    def __init__(self, archive: Archive, identity: int) -> None:
        self._archive = archive
        self._ids: dict[tuple[str, str, str], int] = {}
        table = archive[identity].tables[0]
        if "fromSysName" not in table.columns:
            raise StackFileError("The camera's transforms have an unsupported version.")
        for row in table:
            systems = [text_of(row[column]) for column in ("fromSysName", "toSysName", "toSysDetectorName")]
            self._ids[systems[0], systems[1], systems[2]] = int(row["transform"])

    def focal_to_pixels(self, detector: str) -> PointTransform:
        """Return the map of the focal plane (mm) to a detector's pixels."""
        return self._find("FocalPlane", "Pixels", detector)

    def pixel_mm(self, detector: Detector) -> float:
        """Return the size of a detector's pixels, mm."""
        return float(np.hypot(*self._axes(detector.name, detector.centre)[0]))

    def place(self, detector: str, centre: tuple[float, float]) -> tuple[float, float, float]:
        """Return the position of a detector's centre (mm) and its rotation (degrees)."""
        x_axis, at = self._axes(detector, centre)
        return float(at[0]), float(at[1]), math.degrees(math.atan2(x_axis[1], x_axis[0]))

    def _axes(
        self, detector: str, centre: tuple[float, float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = centre
        points = self.focal_to_pixels(detector)(np.array([[x, y], [x + 1, y]]), inverse=True)
        return points[1] - points[0], points[0]

    def optics(self, radius_mm: float) -> _Optics:
        """Fit scale and distortion within a radius of the focal plane."""
        transform = self._find("FocalPlane", "FieldAngle", "")
        radii = np.linspace(0.02, 1.0, 40) * radius_mm if radius_mm > 0 else np.array([1.0])
        angles = np.stack(
            [
                np.hypot(*transform(np.outer(radii, [math.cos(turn), math.sin(turn)])).T)
                for turn in np.radians([0, 45, 90, 135])
            ]
        )
        mean = angles.mean(axis=0) * _ARCSEC
        powers = np.array([1, 3, 5] if radius_mm > 0 else [1])
        terms = (radii / radii.max())[:, np.newaxis] ** powers
        fitted = np.linalg.lstsq(terms, mean, rcond=None)[0]
        error = np.abs(angles * _ARCSEC - terms @ fitted).max()
        coefficients = fitted / radii.max() ** powers
        scale = float(coefficients[0])
        return _Optics(
            scale,
            tuple(float(one) / scale for one in coefficients[1:]),
            float(error / (scale * radii.max())),
        )

    def _find(self, start: str, end: str, detector: str) -> PointTransform:
        try:
            return PointTransform(self._archive[self._ids[start, end, detector]])
        except KeyError:
            raise StackFileError(f"The camera has no transform of {start} to {end} {detector}.") from None


def _detector(stored: Stored, transforms: _Transforms, known: Camera | None) -> Detector:
    row = stored.row(0)
    name = text_of(row["name"])
    raft, _, sensor = name.partition("_")
    width = int(row["bbox_max_x"]) - int(row["bbox_min_x"]) + 1
    height = int(row["bbox_max_y"]) - int(row["bbox_min_y"]) + 1
    x_mm, y_mm, yaw = transforms.place(name, ((width - 1) / 2, (height - 1) / 2))
    purpose = int(row["type"])
    detector = Detector(
        id=int(row["id"]),
        name=name,
        raft=raft,
        sensor=sensor,
        purpose=_PURPOSES[purpose] if 0 <= purpose < len(_PURPOSES) else "SCIENCE",
        vendor=text_of(row["physicalType"]) if "physicalType" in row else "",
        serial=text_of(row["serial"]),
        width=width,
        height=height,
        x_mm=x_mm,
        y_mm=y_mm,
        yaw_deg=yaw,
        amplifiers=tuple(_amplifiers(stored.tables[1])),
    )
    like = None if known is None else known.detectors.get(detector.id)
    return detector if like is None else _laid_out_like(detector, like)


def _amplifiers(rows: Rows) -> Iterator[Amplifier]:
    for row in rows:
        gain = float(row["gain"])
        saturation = float(row["saturation"]) * gain
        _, flip_x, flip_y = (bool(flag) for flag in row["flags"][:3])
        columns, height = int(row["raw_databbox_extent_x"]), int(row["raw_databbox_extent_y"])
        prescan = int(row["raw_databbox_min_x"]) - int(row["raw_bbox_min_x"])
        below = int(row["raw_databbox_min_y"]) - int(row["raw_bbox_min_y"])
        yield Amplifier(
            name=segment_name(text_of(row["name"])),
            columns=columns,
            rows=height,
            serial_prescan=prescan,
            serial_overscan=int(row["raw_bbox_extent_x"]) - prescan - columns,
            parallel_prescan=below,
            parallel_overscan=int(row["raw_bbox_extent_y"]) - below - height,
            flip_x=flip_x,
            flip_y=flip_y,
            x0=int(row["bbox_min_x"]),
            y0=int(row["bbox_min_y"]),
            gain=gain,
            read_noise=float(row["readnoise"]),
            saturation=saturation if math.isfinite(saturation) else math.inf,
        )


def _laid_out_like(detector: Detector, known: Detector) -> Detector:
    """Return a detector with the layout of one whose raw files are known, if it has the same amplifiers."""
    mine = {one.name: one for one in detector.amplifiers}
    same = (detector.width, detector.height) == (known.width, known.height)
    if not same or mine.keys() != {one.name for one in known.amplifiers}:
        return detector
    return replace(
        detector,
        purpose=known.purpose,
        vendor=known.vendor,
        amplifiers=tuple(
            replace(
                one,
                gain=mine[one.name].gain,
                read_noise=mine[one.name].read_noise,
                saturation=one.saturation
                if math.isinf(mine[one.name].saturation)
                else mine[one.name].saturation,
            )
            for one in known.amplifiers
        ),
    )


def segment_name(name: str) -> str:
    """Return the name of an amplifier in raw files: ``C10`` is in ``Segment10``, ``ch1`` is channel 1."""
    match = re.fullmatch(r"C(\d\d)|ch(\d+)", name)
    if match is None:
        return name
    return f"Segment{match[1]}" if match[1] else match[2]
