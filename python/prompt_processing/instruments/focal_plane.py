"""A camera's focal plane: layout, readout and filters of its detectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Amplifier:
    """One readout channel.

    A segment is stored in readout order: prescan, data and overscan along both
    rows and columns. Its data are flipped to place them in the image.

    Attributes
    ----------
    name
        Name in the file, such as ``Segment10``.
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
        Maker of the detector.
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

    def model_dump_json(self) -> str:
        """Return `to_json`, under the name that the Butler's formatter of JSON calls."""
        return self.to_json()

    @classmethod
    def model_validate_json(cls, text: bytes) -> Camera:
        """Return `from_json`, under the name that the Butler's formatter of JSON calls.

        A worker reads the same camera at each visit, while alerts wait.
        """
        return _last_read(text)


@lru_cache(maxsize=2)
def _last_read(text: bytes) -> Camera:
    return Camera.from_json(text.decode())


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
