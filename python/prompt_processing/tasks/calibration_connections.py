"""Connections that the making and the use of calibrations share."""

from __future__ import annotations

from lsst.pipe.base import connectionTypes

__all__ = ["CALIBRATION", "calibration_input", "calibration_output", "camera_input", "raw_inputs"]

CALIBRATION = ("instrument", "detector")
"""Dimensions of a calibration that all filters share."""


def raw_inputs(doc: str) -> connectionTypes.Input:
    """Return the input of raws that are read one after the other."""
    return connectionTypes.Input(
        doc=doc,
        name="raw",
        storageClass="Exposure",
        dimensions=("instrument", "exposure", "detector"),
        multiple=True,
        deferLoad=True,
    )


def camera_input() -> connectionTypes.PrerequisiteInput:
    """Return the input of the detectors' properties."""
    return connectionTypes.PrerequisiteInput(
        doc="Geometry, gains, read noise and saturation of the detectors.",
        name="camera",
        storageClass="Camera",
        dimensions=("instrument",),
        isCalibration=True,
    )


def calibration_input(
    name: str,
    doc: str,
    storage_class: str = "ExposureF",
    *,
    by_filter: bool = False,
    minimum: int = 1,
    multiple: bool = False,
    defer: bool = False,
) -> connectionTypes.PrerequisiteInput:
    """Return the input of a calibration, which is optional with a minimum of 0, and read late if deferred."""
    return connectionTypes.PrerequisiteInput(
        doc=doc,
        name=name,
        storageClass=storage_class,
        dimensions=_dimensions(by_filter),
        isCalibration=True,
        minimum=minimum,
        multiple=multiple,
        deferLoad=defer,
    )


def calibration_output(
    name: str, doc: str, storage_class: str = "ExposureF", *, by_filter: bool = False
) -> connectionTypes.Output:
    """Return the output of a calibration."""
    return connectionTypes.Output(
        doc=doc,
        name=name,
        storageClass=storage_class,
        dimensions=_dimensions(by_filter),
        isCalibration=True,
    )


def _dimensions(by_filter: bool) -> tuple[str, ...]:
    return (*CALIBRATION, "physical_filter") if by_filter else CALIBRATION
