"""An instrument, as its folder describes it."""

from __future__ import annotations

import csv
import functools
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astropy.time import Time, TimeDelta
from pydantic import ValidationError

from prompt_processing.domain.errors import PromptError
from prompt_processing.domain.yaml_text import parse_yaml

from ..focal_plane import Amplifier, Camera, Detector
from .document import (
    AmplifierDocument,
    AmplifierKind,
    DetectorDocument,
    InstrumentDocument,
    SimulationDocument,
)
from .rules import matches
from .sections import AmplifierPlace, places_of

# Imported late otherwise: a worker is ready for visits before it reads a header.
if TYPE_CHECKING:
    from astro_metadata_translator import MetadataTranslator

__all__ = ["DESCRIPTION_FILE", "Instrument", "InstrumentError", "load_named", "read_instrument"]

DESCRIPTION_FILE = "instrument.yaml"


class InstrumentError(PromptError, LookupError, ValueError):
    """An instrument is unknown, or its folder is unusable; the message says which and why."""


@dataclass(frozen=True, eq=False)
class Instrument:
    """An instrument.

    Attributes
    ----------
    folder
        Folder with ``instrument.yaml``.
    document
        Content of that file: site, header rules, filters, colour terms and so on.
    camera
        Detectors and optics; gain, read noise and saturation are nominal.
    """

    folder: Path
    document: InstrumentDocument
    camera: Camera

    @property
    def name(self) -> str:
        """Short name, as in the Butler."""
        return self.document.name

    @property
    def pipelines(self) -> Path:
        """Folder of the instrument's pipelines; it may be missing."""
        return self.folder / "pipelines"

    @property
    def simulation(self) -> SimulationDocument:
        """Typical values for simulated nights.

        Raises
        ------
        InstrumentError
            Raised if the description has none.
        """
        if self.document.simulation is None:
            raise InstrumentError(
                f"{self.folder / DESCRIPTION_FILE} has no section `simulation`, which a simulated night needs"
            )
        return self.document.simulation

    @property
    def fixed_rotation(self) -> float | None:
        """Angle of focal-plane +Y, east of north, degrees, of a camera that does not rotate, or `None`."""
        rules = self.document.header
        if rules is None or rules.rotation is None or rules.rotation.keywords:
            return None
        return rules.rotation.degrees({})

    def recognises(self, header: Mapping[str, Any]) -> bool:
        """Return whether the instrument wrote a header."""
        return any(matches(header, wanted) for wanted in self.document.recognised_by)

    @functools.cached_property
    def places(self) -> Mapping[int, tuple[AmplifierPlace, ...]]:
        """Place of each amplifier in the file, by detector; empty for layouts with fixed forms."""
        kinds = {one.id: self.kind_of(one.id) for one in self._detectors}
        return {
            id_: places_of(kind.amplifiers, kind.columns, kind.rows)
            for id_, kind in kinds.items()
            if kind.amplifiers
        }

    def kind_of(self, detector: int) -> AmplifierKind:
        """Return the readout of a detector."""
        return self.document.amplifier_kinds[self._kinds[detector]]

    @functools.cached_property
    def _kinds(self) -> Mapping[int, str]:
        return {one.id: one.kind for one in self._detectors}

    @functools.cached_property
    def detector_numbers(self) -> Mapping[str, int]:
        """Id of each detector by its name."""
        return {one.name: one.id for one in self.camera.detectors.values()}

    @functools.cached_property
    def translator(self) -> type[MetadataTranslator]:
        """Class that translates the instrument's headers."""
        from astro_metadata_translator import MetadataTranslator

        # Imported late: a translator class knows this module.
        from .translator import make_translator

        if self.document.translator is None:
            return make_translator(self)
        found = load_named(self.document.translator)
        if not (isinstance(found, type) and issubclass(found, MetadataTranslator)):
            raise InstrumentError(f"{self.document.translator} is not a translator class")
        return found

    def exposure_id_at(self, begin: Time) -> int:
        """Return the id of an exposure without a number: observing day and seconds since its begin."""
        since = begin.tai - TimeDelta(
            self.document.exposures.rollover_hours * 3600, format="sec", scale="tai"
        )
        date, _, clock = since.isot.partition("T")
        hours, minutes, seconds = clock.split(":")
        return (
            int(date.replace("-", "")) * 100_000 + int(hours) * 3600 + int(minutes) * 60 + int(float(seconds))
        )

    def observation_id_of(self, exposure: int) -> str:
        """Return the identifier of an observation by the id of its exposure."""
        return f"{self.document.exposures.prefix}{exposure:0{self.document.exposures.digits}d}"

    @functools.cached_property
    def _detectors(self) -> tuple[DetectorDocument, ...]:
        return _detectors(self.folder, self.document)


def load_named(name: str) -> Any:
    """Return what ``module:attribute`` names.

    Raises
    ------
    InstrumentError
        Raised if it does not exist.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InstrumentError(f"{name} is unavailable: {error}") from error


def read_instrument(folder: Path) -> Instrument:
    """Read the description of an instrument.

    Parameters
    ----------
    folder
        Folder with ``instrument.yaml``.

    Raises
    ------
    InstrumentError
        Raised if a file is missing or unusable; the message names it and all values at fault.
    """
    path = folder / DESCRIPTION_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InstrumentError(f"{path} cannot be read: {error}") from error
    try:
        document = InstrumentDocument.model_validate(parse_yaml(text))
        camera = _camera(folder, document)
    except ValidationError as error:
        raise InstrumentError(f"{path} is unusable: {_problems(error)}") from error
    except (OSError, ValueError, LookupError) as error:
        raise InstrumentError(f"{path} is unusable: {error}") from error
    return Instrument(folder, document, camera)


def _problems(error: ValidationError) -> str:
    found = (f"{'.'.join(map(str, one['loc'])) or '(all)'}: {one['msg']}" for one in error.errors())
    return "; ".join(found)


def _camera(folder: Path, document: InstrumentDocument) -> Camera:
    values = _electronics(folder, document)
    detectors: dict[int, Detector] = {}
    for one in _detectors(folder, document):
        if one.kind not in document.amplifier_kinds:
            raise ValueError(
                f"detector {one.id} is of kind {one.kind!r}, which amplifier_kinds does not have"
            )
        if one.id in detectors:
            raise ValueError(f"two detectors have the id {one.id}")
        detectors[one.id] = _detector(one, document.amplifier_kinds[one.kind], values)
    if not detectors:
        raise ValueError("the instrument has no detectors")
    return Camera(
        name=document.name,
        detectors=detectors,
        pixel_mm=document.pixel_mm,
        plate_scale_arcsec_per_mm=document.plate_scale_arcsec_per_mm,
        parity_flipped_x=document.parity_flipped_x,
        distortion=document.distortion,
        distortion_bound=document.distortion_bound,
        filters=_filters(document),
    )


def _filters(document: InstrumentDocument) -> dict[str, str]:
    filters = dict(document.filters)
    if not document.gratings:
        return filters
    # A filter may also be in the grating wheel, behind an empty position of the filter wheel.
    pairs = {
        f"{filter_}~{grating}": band for filter_, band in filters.items() for grating in document.gratings
    }
    return pairs | {f"empty~{name}": band for name, band in filters.items() if name.endswith("_65mm")}


def _detectors(folder: Path, document: InstrumentDocument) -> tuple[DetectorDocument, ...]:
    if not isinstance(document.detectors, str):
        return document.detectors
    return tuple(DetectorDocument.model_validate(row) for row in _rows(folder / document.detectors))


def _electronics(folder: Path, document: InstrumentDocument) -> dict[tuple[int, str], dict[str, float]]:
    if document.electronics is None:
        return {}
    return {
        (int(row["detector"]), row["amplifier"]): {
            name: float(row[name]) for name in ("gain", "read_noise", "saturation")
        }
        for row in _rows(folder / document.electronics)
    }


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def _detector(
    one: DetectorDocument, kind: AmplifierKind, values: Mapping[tuple[int, str], Mapping[str, float]]
) -> Detector:
    nominal = {"gain": kind.gain, "read_noise": kind.read_noise, "saturation": kind.saturation}
    amplifiers = tuple(
        Amplifier(**{**layout, **nominal, **own, **values.get((one.id, str(layout["name"])), {})})
        for layout, own in _layouts(kind)
    )
    raft, _, sensor = one.name.partition("_")
    return Detector(
        id=one.id,
        name=one.name,
        raft=one.raft or (raft if sensor else ""),
        sensor=one.sensor or sensor or raft,
        purpose=one.purpose,
        vendor=kind.vendor,
        serial=one.serial,
        width=max(amplifier.x0 + amplifier.columns for amplifier in amplifiers),
        height=max(amplifier.y0 + amplifier.rows for amplifier in amplifiers),
        x_mm=one.x_mm,
        y_mm=one.y_mm,
        yaw_deg=one.yaw_deg,
        amplifiers=amplifiers,
    )


def _layouts(kind: AmplifierKind) -> Iterator[tuple[dict[str, Any], dict[str, float]]]:
    """Yield the layout of each amplifier, and the electronic values of its own."""
    if kind.amplifiers:
        places = places_of(kind.amplifiers, kind.columns, kind.rows)
        for amplifier, place in zip(kind.amplifiers, places, strict=True):
            yield place.layout(), _own_values(amplifier)
        return
    equal = {
        "columns": kind.columns,
        "rows": kind.rows,
        "serial_prescan": kind.serial_prescan,
        "serial_overscan": kind.serial_overscan,
        "parallel_prescan": kind.parallel_prescan,
        "parallel_overscan": kind.parallel_overscan,
    }
    if kind.channels:
        # Odd channels are read from the left, even channels from the right.
        for i in range(kind.channels):
            layout = {
                "name": str(i + 1),
                "flip_x": i % 2 == 1,
                "flip_y": False,
                "x0": i * kind.columns,
                "y0": 0,
            }
            yield {**equal, **layout}, {}
        return
    halves = len({segment[0] for segment in kind.segments})
    for segment in kind.segments:
        flip_x, flip_y = kind.flips[segment[0]]
        half = int(segment[0]) if halves == 2 else 0
        layout = {
            "name": f"Segment{segment}",
            "flip_x": flip_x,
            "flip_y": flip_y,
            "x0": int(segment[1]) * kind.columns,
            "y0": half * kind.rows,
        }
        yield {**equal, **layout}, {}


def _own_values(amplifier: AmplifierDocument) -> dict[str, float]:
    values = {
        "gain": amplifier.gain,
        "read_noise": amplifier.read_noise,
        "saturation": amplifier.saturation,
    }
    return {name: value for name, value in values.items() if value is not None}
