"""Cameras of the described instruments."""

from __future__ import annotations

import logging
from pathlib import Path

from .description.instrument import InstrumentError
from .description.registry import instrument_names, load_instrument
from .focal_plane import Amplifier as Amplifier
from .focal_plane import Camera as Camera
from .focal_plane import Detector as Detector

__all__ = [
    "band_of_filter",
    "camera_names",
    "described_camera",
    "load_camera",
    "nominal_detectors",
]

_LOG = logging.getLogger("lsst.prompt_processing.instruments")


def camera_names() -> tuple[str, ...]:
    """Return the names that `load_camera` knows."""
    return instrument_names()


def load_camera(name_or_path: str | Path) -> Camera:
    """Make a camera from the description of its instrument.

    Gain, read noise and saturation are nominal: typical of the vendor, not measured.

    Parameters
    ----------
    name_or_path
        Short name, such as ``LSSTCam``, or the folder of an instrument.

    Raises
    ------
    LookupError
        Raised if the instrument is unknown or its description is unusable.
    """
    return load_instrument(name_or_path).camera


def described_camera(name: str) -> Camera | None:
    """Return the camera of a name that came in a message; `None` without a usable description.

    Only names of described instruments are looked up, and none is taken for a folder. An unusable description
    is logged: it hides no visit from those who watch a night.
    """
    if name not in camera_names():
        return None
    try:
        return load_camera(name)
    except LookupError as error:
        _LOG.warning("Detectors are shown without their places: %s", error)
        return None


def band_of_filter(instrument: str, physical_filter: str) -> str | None:
    """Return the band of a filter, or `None` if instrument or filter are unknown."""
    try:
        return load_instrument(instrument).camera.filters.get(physical_filter)
    except InstrumentError:
        return None


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
