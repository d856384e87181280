"""Describe detectors as ``lsst.images`` does."""

from __future__ import annotations

import math
from functools import lru_cache

import astropy.units
import numpy as np
import starlink.Ast as Ast
from lsst.images import Box
from lsst.images.cameras import (
    Amplifier,
    AmplifierCalibrations,
    AmplifierRawGeometry,
    CameraFrameSet,
    CameraFrameSetSerializationModel,
    Detector,
    DetectorAttributes,
    DetectorType,
    Orientation,
    ReadoutCorner,
)

from prompt_processing.instruments import camera as ours

__all__ = ["field_detector"]


def field_detector(instrument: str, detector: int, shape: tuple[int, int], visit: int | None) -> Detector:
    """Return the description of a detector.

    Parameters
    ----------
    instrument
        Short name of the camera; of a camera whose layout is not in this package, only the size is known.
    detector
        Id.
    shape
        Height and width of the image; another than the detector's is that of a detector in miniature.
    visit
        Id of the visit.
    """
    attributes, amplifiers, frames = _nominal(instrument, detector, shape)
    return Detector(attributes, amplifiers, frames, visit=visit)


@lru_cache(maxsize=16)
def _nominal(
    instrument: str, detector: int, shape: tuple[int, int]
) -> tuple[DetectorAttributes, list[Amplifier], CameraFrameSet]:
    height, width = shape
    pixel_mm, radians_per_mm, flip = 0.01, 1e-4, False
    distortion: tuple[float, ...] = ()
    layout = None
    try:
        camera = ours.load_camera(instrument)
        layout = camera.detector(detector)
    except LookupError:
        pass
    else:
        pixel_mm = camera.pixel_mm
        radians_per_mm = math.radians(camera.plate_scale_arcsec_per_mm / 3600.0)
        flip, distortion = camera.parity_flipped_x, camera.distortion
    x_mm, y_mm, yaw = (0.0, 0.0, 0.0) if layout is None else (layout.x_mm, layout.y_mm, layout.yaw_deg)
    purpose = "SCIENCE" if layout is None else layout.purpose
    attributes = DetectorAttributes(
        name=f"{detector}" if layout is None else layout.name,
        id=detector,
        type=DetectorType(purpose) if purpose in DetectorType.__members__ else DetectorType.SCIENCE,
        serial="" if layout is None else layout.serial,
        bbox=Box.from_shape(shape),
        orientation=Orientation(
            focal_plane_x=x_mm,
            focal_plane_y=y_mm,
            focal_plane_z=0.0,
            pixel_reference_x=(width - 1) / 2,
            pixel_reference_y=(height - 1) / 2,
            yaw=yaw * astropy.units.deg,
        ),
        pixel_size=pixel_mm,
        physical_type="" if layout is None else layout.vendor,
    )
    amplifiers = []
    if layout is not None and (layout.height, layout.width) == shape:
        amplifiers = [_amplifier(one) for one in layout.amplifiers]
    ast = _frame_set(detector, shape, (x_mm, y_mm), yaw, pixel_mm, (radians_per_mm, flip, distortion))
    frames = CameraFrameSetSerializationModel(instrument=instrument, ast=ast).deserialize(None)  # type: ignore[arg-type]
    return attributes, amplifiers, frames


def _frame_set(
    detector: int,
    shape: tuple[int, int],
    centre_mm: tuple[float, float],
    yaw_deg: float,
    pixel_mm: float,
    optics: tuple[float, bool, tuple[float, ...]],
) -> str:
    """Return the native text of the AST frame set: focal plane, field angles, and the detector's pixels."""
    radians_per_mm, flip, distortion = optics
    frames = Ast.FrameSet(Ast.Frame(2, "Ident=FOCAL_PLANE,Domain=FOCAL_PLANE,Unit(1)=mm,Unit(2)=mm"))
    # Field angles have +X to the west.
    sign = -1.0 if flip else 1.0
    terms = []
    for output, scale in ((1, sign * radians_per_mm), (2, radians_per_mm)):
        terms.append([scale, output, int(output == 1), int(output == 2)])
        for n, coefficient in enumerate(distortion, start=1):
            for k in range(n + 1):
                # r^(2 n) times the coordinate.
                weight = scale * coefficient * math.comb(n, k)
                terms.append([weight, output, 2 * k + (output == 1), 2 * (n - k) + (output == 2)])
    angles = Ast.PolyMap(terms, None, "IterInverse=1,NIterInverse=10,TolInverse=1e-12")
    frames.addframe(1, angles, Ast.Frame(2, "Ident=FIELD_ANGLE,Domain=FIELD_ANGLE,Unit(1)=rad,Unit(2)=rad"))
    yaw = math.radians(yaw_deg)
    cosine, sine = math.cos(yaw) * pixel_mm, math.sin(yaw) * pixel_mm
    height, width = shape
    x, y = (width - 1) / 2, (height - 1) / 2
    to_plane = Ast.CmpMap(
        Ast.MatrixMap([[cosine, -sine], [sine, cosine]]),
        Ast.ShiftMap([centre_mm[0] - cosine * x + sine * y, centre_mm[1] - sine * x - cosine * y]),
        True,
    )
    to_plane.invert()
    pixels = Ast.Frame(
        2,
        f"Ident=DETECTOR_{detector},Domain=DETECTOR_{detector},Bottom(1)=0,Top(1)={width},Bottom(2)=0,Top(2)={height}",
    )
    frames.addframe(1, to_plane, pixels)
    text: list[str] = []
    Ast.Channel(None, _Lines(text), "Full=-1,Comment=0").write(frames)
    return "\n".join(text) + "\n"


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def astsink(self, line: str) -> None:
        self._lines.append(line)


def _amplifier(amplifier: ours.Amplifier) -> Amplifier:
    column, row = amplifier.x0 // amplifier.columns, amplifier.y0 // amplifier.rows
    rows, columns = amplifier.raw_shape
    corner = ReadoutCorner.from_flips(y=amplifier.flip_y, x=amplifier.flip_x)
    return Amplifier(
        name=amplifier.name,
        bbox=Box.factory[
            amplifier.y0 : amplifier.y0 + amplifier.rows, amplifier.x0 : amplifier.x0 + amplifier.columns
        ],
        readout_corner=corner,
        assembled_raw_geometry=_raw_geometry(amplifier, row * rows, column * columns, assembled=True),
        unassembled_raw_geometry=_raw_geometry(amplifier, 0, 0, assembled=False),
        nominal_calibrations=AmplifierCalibrations(
            gain=amplifier.gain,
            read_noise=amplifier.read_noise,
            saturation=amplifier.saturation,
            suspect_level=math.nan,
            linearity_coefficients=np.zeros(0),
            linearity_type="NONE",
        ),
    )


def _raw_geometry(
    amplifier: ours.Amplifier, y0: int, x0: int, *, assembled: bool
) -> AmplifierRawGeometry | None:
    """Return the sections of a segment, in readout order or, once assembled, as it lies in the image."""
    if not (amplifier.serial_overscan and amplifier.parallel_overscan):
        # A box has at least one pixel.
        return None
    rows, columns = amplifier.raw_shape
    flip_y, flip_x = (amplifier.flip_y, amplifier.flip_x) if assembled else (False, False)

    def section(y: tuple[int, int], x: tuple[int, int]) -> Box:
        if flip_y:
            y = rows - y[1], rows - y[0]
        if flip_x:
            x = columns - x[1], columns - x[0]
        return Box.factory[y0 + y[0] : y0 + y[1], x0 + x[0] : x0 + x[1]]

    data_y = amplifier.parallel_prescan, amplifier.parallel_prescan + amplifier.rows
    data_x = amplifier.serial_prescan, amplifier.serial_prescan + amplifier.columns
    return AmplifierRawGeometry(
        bbox=section((0, rows), (0, columns)),
        data_bbox=section(data_y, data_x),
        flip_x=amplifier.flip_x and not assembled,
        flip_y=amplifier.flip_y and not assembled,
        serial_overscan_bbox=section(data_y, (data_x[1], columns)),
        parallel_overscan_bbox=section((data_y[1], rows), data_x),
        prescan_bbox=section(data_y, (0, data_x[0])) if amplifier.serial_prescan else None,
        readout_corner=ReadoutCorner.from_flips(y=flip_y, x=flip_x),
    )
