"""Cameras: layout, readout and filters of their detectors."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import resources
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Amplifier:
    """One readout channel.

    A segment is stored in readout order: prescan, data and overscan along both
    rows and columns. Its data are flipped to place them in the image.

    Attributes
    ----------
    name
        Name in the file (``Segment10``) or, for HSC, number of the channel.
    columns, rows
        Size of the data section, pixels.
    serial_prescan, serial_overscan, parallel_prescan, parallel_overscan
        Widths of the sections around the data, pixels.
    flip_x, flip_y
        Whether the data are reversed with respect to the assembled image.
    x0, y0
        Lower left pixel of the data in the assembled image.
    gain
        Electrons per ADU; a nominal value in cameras from `load_camera`.
    read_noise, saturation
        Electrons; nominal values likewise.
    """

    name: str
    columns: int
    rows: int
    serial_prescan: int
    serial_overscan: int
    parallel_prescan: int
    parallel_overscan: int
    flip_x: bool
    flip_y: bool
    x0: int
    y0: int
    gain: float
    read_noise: float
    saturation: float

    @property
    def raw_shape(self) -> tuple[int, int]:
        """Height and width of the segment with all its sections, pixels."""
        return (
            self.parallel_prescan + self.rows + self.parallel_overscan,
            self.serial_prescan + self.columns + self.serial_overscan,
        )

    @property
    def data_slices(self) -> tuple[slice, slice]:
        """Rows and columns of the data in the segment."""
        return (
            slice(self.parallel_prescan, self.parallel_prescan + self.rows),
            slice(self.serial_prescan, self.serial_prescan + self.columns),
        )

    @property
    def target_slices(self) -> tuple[slice, slice]:
        """Rows and columns of the data in the assembled image."""
        return slice(self.y0, self.y0 + self.rows), slice(self.x0, self.x0 + self.columns)


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector and its place in the focal plane.

    Attributes
    ----------
    id
        Detector id.
    name, raft, sensor
        ``R22_S11``, ``R22`` and ``S11``.
    purpose
        SCIENCE, GUIDER, WAVEFRONT or FOCUS.
    vendor
        ITL, E2V or HSC.
    serial
        Serial number; empty if unknown.
    width, height
        Size of the assembled image, pixels.
    x_mm, y_mm
        Position of the centre in the focal plane, mm.
    yaw_deg
        Anticlockwise rotation of the detector about its centre, degrees.
    amplifiers
        In the order of the file.
    """

    id: int
    name: str
    raft: str
    sensor: str
    purpose: str
    vendor: str
    serial: str
    width: int
    height: int
    x_mm: float
    y_mm: float
    yaw_deg: float
    amplifiers: tuple[Amplifier, ...]

    @property
    def centre(self) -> tuple[float, float]:
        """Pixel position of the centre; that of the lower left pixel is (0, 0)."""
        return (self.width - 1) / 2, (self.height - 1) / 2

    def amplifier(self, name: str) -> Amplifier:
        """Return an amplifier by its name.

        Raises
        ------
        LookupError
            Raised if the detector has no such amplifier.
        """
        for amplifier in self.amplifiers:
            if amplifier.name == name:
                return amplifier
        raise LookupError(f"Detector {self.name} has no amplifier {name!r}.")


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera's detectors and optics.

    Attributes
    ----------
    name
        Short name, as in the Butler.
    detectors
        Detectors by id.
    pixel_mm
        Size of a pixel, mm.
    plate_scale_arcsec_per_mm
        Plate scale at the boresight.
    parity_flipped_x
        Whether focal-plane +X points east, not west, when +Y points north.
    distortion
        Coefficients of r^3, r^5 of the undistorted radius in terms of r, the
        focal-plane radius in mm; empty without a model.
    distortion_bound
        Error of the distortion model, as a fraction of the field radius.
    filters
        Band by physical filter.
    """

    name: str
    detectors: Mapping[int, Detector]
    pixel_mm: float
    plate_scale_arcsec_per_mm: float
    parity_flipped_x: bool
    distortion: tuple[float, ...]
    distortion_bound: float
    filters: Mapping[str, str]

    @property
    def pixel_scale_arcsec(self) -> float:
        """Size of a pixel on the sky at the boresight, arcsec."""
        return self.pixel_mm * self.plate_scale_arcsec_per_mm

    def detector(self, id_or_name: int | str) -> Detector:
        """Return a detector by its id or name.

        Raises
        ------
        LookupError
            Raised if the camera has no such detector.
        """
        if isinstance(id_or_name, str):
            for detector in self.detectors.values():
                if detector.name == id_or_name:
                    return detector
        elif id_or_name in self.detectors:
            return self.detectors[id_or_name]
        raise LookupError(f"{self.name} has no detector {id_or_name!r}.")

    def miniature(self, columns: int, rows: int) -> Camera:
        """Return a camera whose amplifiers have smaller data sections.

        Parameters
        ----------
        columns, rows
            Size of each amplifier's data section, pixels.

        Returns
        -------
        camera
            Camera with smaller detectors; scale, layout, prescans, overscans
            and positions of the centres are unchanged.
        """
        return replace(
            self,
            detectors={id_: _shrunk(detector, columns, rows) for id_, detector in self.detectors.items()},
        )

    def to_json(self) -> str:
        """Return the camera as a JSON document."""
        document = asdict(self)
        document["detectors"] = list(document["detectors"].values())
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Camera:
        """Make a camera from the document that `to_json` returned.

        Raises
        ------
        ValueError
            Raised if the text is not such a document.
        """
        try:
            document = json.loads(text)
            detectors = [
                Detector(**{**item, "amplifiers": tuple(Amplifier(**a) for a in item["amplifiers"])})
                for item in document["detectors"]
            ]
            return cls(
                **{
                    **document,
                    "detectors": {detector.id: detector for detector in detectors},
                    "distortion": tuple(document["distortion"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"Not a camera: {error}") from error


def camera_names() -> tuple[str, ...]:
    """Return the names that `load_camera` knows."""
    return tuple(_facts()["cameras"])


def nominal_detectors(camera: Camera) -> list[Detector]:
    """Find the detectors whose gains have not been measured.

    Parameters
    ----------
    camera
        Camera to check, for example a repository's.

    Returns
    -------
    detectors
        Detectors whose amplifiers all have the values of `load_camera`; empty for a camera that it does not
        know.
    """
    if camera.name not in camera_names():
        return []
    nominal = load_camera(camera.name).detectors
    return [
        detector
        for id_, detector in camera.detectors.items()
        if id_ in nominal and _electronics(detector) == _electronics(nominal[id_])
    ]


def _electronics(detector: Detector) -> list[tuple[float, float]]:
    return [(amplifier.gain, amplifier.read_noise) for amplifier in detector.amplifiers]


def load_camera(name: str) -> Camera:
    """Make a camera from the package's data files.

    Gain, read noise and saturation are nominal: typical of the vendor, not measured.

    Parameters
    ----------
    name
        Short name: ``LSSTCam``, ``LATISS``, ``HSC``, ``LSSTComCam`` or
        ``LSSTComCamSim``.

    Raises
    ------
    LookupError
        Raised if the camera is unknown.
    """
    facts = _facts()
    if name not in facts["cameras"]:
        raise LookupError(f"Unknown camera {name!r}; known are {', '.join(facts['cameras'])}.")
    camera = facts["cameras"][name]
    text = _data_file(f"{camera['file']}.csv")
    detectors = [
        _detector(row, facts["amplifier_kinds"][row["kind"]]) for row in csv.DictReader(text.splitlines())
    ]
    filters: dict[str, str] = camera["filters"]
    if "gratings" in camera:
        filters = {
            f"{filter_}~{grating}": band
            for filter_, band in filters.items()
            for grating in camera["gratings"]
        }
    return Camera(
        name=name,
        detectors={detector.id: detector for detector in detectors},
        pixel_mm=camera["pixel_mm"],
        plate_scale_arcsec_per_mm=camera["plate_scale_arcsec_per_mm"],
        parity_flipped_x=camera["parity_flipped_x"],
        distortion=tuple(camera["distortion"]),
        distortion_bound=camera["distortion_bound"],
        filters=_filters(camera),
    )


def band_of_filter(instrument: str, physical_filter: str) -> str | None:
    """Return the band of a filter, or `None` if camera or filter are unknown."""
    return _bands(instrument).get(physical_filter)


@functools.cache
def _bands(instrument: str) -> Mapping[str, str]:
    # Cached: every header requires it, and the file does not change.
    cameras = _facts()["cameras"]
    return _filters(cameras[instrument]) if instrument in cameras else {}


def _filters(camera: Mapping[str, Any]) -> dict[str, str]:
    filters: dict[str, str] = camera["filters"]
    if "gratings" not in camera:
        return filters
    # A filter may also be in the grating wheel, behind an empty position of the filter wheel.
    pairs = {
        f"{filter_}~{grating}": band for filter_, band in filters.items() for grating in camera["gratings"]
    }
    return pairs | {f"empty~{name}": band for name, band in filters.items() if name.endswith("_65mm")}


def _data_file(name: str) -> str:
    return (resources.files(__package__) / "data" / name).read_text(encoding="utf-8")


def _facts() -> dict[str, Any]:
    facts = yaml.safe_load(_data_file("cameras.yaml"))
    assert isinstance(facts, dict)
    return facts


def _detector(row: dict[str, str], kind: dict[str, Any]) -> Detector:
    id_ = int(row["id"])
    raft, sensor = row["name"].split("_")
    columns, rows = kind["columns"], kind["rows"]
    if "channels" in kind:
        # Odd channels are read from the left, even channels from the right.
        layout = [(str(i + 1), i % 2 == 1, False, i, 0) for i in range(kind["channels"])]
        halves = 1
    else:
        halves = len({segment[0] for segment in kind["segments"]})
        layout = []
        for segment in kind["segments"]:
            flip_x, flip_y = kind["flips"][segment[0]]
            half = int(segment[0]) if halves == 2 else 0
            layout.append((f"Segment{segment}", flip_x, flip_y, int(segment[1]), half))
    amplifiers = []
    for name, flip_x, flip_y, column, half in layout:
        amplifiers.append(
            Amplifier(
                name=name,
                columns=columns,
                rows=rows,
                serial_prescan=kind["serial_prescan"],
                serial_overscan=kind["serial_overscan"],
                parallel_prescan=kind["parallel_prescan"],
                parallel_overscan=kind["parallel_overscan"],
                flip_x=flip_x,
                flip_y=flip_y,
                x0=column * columns,
                y0=half * rows,
                gain=float(kind["gain"]),
                read_noise=float(kind["read_noise"]),
                saturation=float(kind["saturation"]),
            )
        )
    return Detector(
        id=id_,
        name=row["name"],
        raft=raft,
        sensor=sensor,
        purpose=row["purpose"],
        vendor=kind["vendor"],
        serial=row["serial"],
        width=columns * (len(amplifiers) // halves),
        height=rows * halves,
        x_mm=float(row["x_mm"]),
        y_mm=float(row["y_mm"]),
        yaw_deg=float(row["yaw_deg"]),
        amplifiers=tuple(amplifiers),
    )


def _shrunk(detector: Detector, columns: int, rows: int) -> Detector:
    amplifiers = tuple(
        replace(
            amplifier,
            columns=columns,
            rows=rows,
            x0=amplifier.x0 // amplifier.columns * columns,
            y0=amplifier.y0 // amplifier.rows * rows,
        )
        for amplifier in detector.amplifiers
    )
    return replace(
        detector,
        amplifiers=amplifiers,
        width=max(a.x0 for a in amplifiers) + columns,
        height=max(a.y0 for a in amplifiers) + rows,
    )
