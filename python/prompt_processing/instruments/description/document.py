"""Content of ``instrument.yaml``, which describes an instrument."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .rules import AngleRule, KeywordRule, RotationRule, TimeRule

__all__ = [
    "AmplifierDocument",
    "AmplifierKind",
    "ButlerDocument",
    "DetectorDocument",
    "ExposureDocument",
    "HeaderDocument",
    "InstrumentDocument",
    "KeyDocument",
    "RawDocument",
    "SimulationDocument",
    "SiteDocument",
]

_SECTION = re.compile(r"\[(\d+):(\d+),(\d+):(\d+)\]")


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _section(value: Any) -> Any:
    """Read a section such as ``[1:1024,1:4096]``, as FITS headers write it."""
    if not isinstance(value, str):
        return value
    match = _SECTION.fullmatch(value.replace(" ", ""))
    if match is None:
        raise ValueError(f"{value!r} is not a section such as [1:1024,1:4096]")
    return tuple(map(int, match.groups()))


Section = Annotated[tuple[int, int, int, int], BeforeValidator(_section)]
"""First and last column, first and last row; from 1, both ends included, reversed if first > last."""


class SiteDocument(_Document):
    """Position of the telescope."""

    longitude_deg: float = Field(ge=-180, le=360)
    """Degrees, east positive."""
    latitude_deg: float = Field(ge=-90, le=90)
    """Degrees, north positive."""
    height_m: float = 0.0
    """Metres above sea level."""


class AmplifierDocument(_Document):
    """Sections of one amplifier in the file."""

    name: str = Field(pattern=r"[A-Za-z0-9_]+")
    """Name, which stands for ``{amplifier}`` in the keywords of sections."""
    hdu: int = Field(default=0, ge=0)
    """Which of the detector's images in the file holds it, from 0."""
    data: Section | None = None
    """Pixels of the sky; the whole image by default."""
    overscan: Section | None = None
    """Overscan beside the data; none by default."""
    parallel_overscan: Section | None = None
    """Overscan above or below the data; none by default."""
    detector_section: Section | None = None
    """Place in the assembled image, reversed where the data are; by default that of the file."""
    gain: float | None = Field(default=None, gt=0)
    """Electrons per ADU."""
    read_noise: float | None = Field(default=None, ge=0)
    """Electrons."""
    saturation: float | None = Field(default=None, gt=0)
    """Electrons."""


class AmplifierKind(_Document):
    """Readout that several detectors share.

    A kind has ``segments`` (one image each, with sections of equal size), ``channels`` (side by side in one
    image) or ``amplifiers`` (sections in the file).
    """

    vendor: str = ""
    """Maker of the detector."""
    gain: float = Field(default=1.0, gt=0)
    """Electrons per ADU, for amplifiers without a value of their own."""
    read_noise: float = Field(default=0.0, ge=0)
    """Electrons, likewise."""
    saturation: float = Field(default=1e9, gt=0)
    """Electrons, likewise."""
    columns: int = Field(default=0, ge=0)
    """Size of the image, or of the data section of each segment or channel, pixels."""
    rows: int = Field(default=0, ge=0)
    serial_prescan: int = 0
    serial_overscan: int = 0
    parallel_prescan: int = 0
    parallel_overscan: int = 0
    flips: Mapping[str, tuple[bool, bool]] = Field(default_factory=dict)
    """Whether columns and rows are reversed, by the first character of a segment."""
    segments: tuple[str, ...] = ()
    channels: int = 0
    amplifiers: tuple[AmplifierDocument, ...] = ()

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if sum(map(bool, (self.segments, self.channels, self.amplifiers))) != 1:
            raise ValueError("a kind has either segments, channels or amplifiers")
        names = [amplifier.name for amplifier in self.amplifiers]
        if len(set(names)) != len(names):
            raise ValueError(f"the names of the amplifiers differ from each other, not {', '.join(names)}")
        return self


class DetectorDocument(_Document):
    """One detector."""

    id: int = Field(ge=0, le=255)
    """Detector id."""
    name: str = Field(pattern=r"[A-Za-z0-9_-]+")
    """Name, such as ``R22_S11`` or ``S1``."""
    kind: str
    """An entry of ``amplifier_kinds``."""
    purpose: Literal["SCIENCE", "GUIDER", "WAVEFRONT", "FOCUS"] = "SCIENCE"
    """``SCIENCE`` for detectors that make alerts."""
    raft: str = ""
    """Raft; by default what precedes ``_`` in the name."""
    sensor: str = ""
    """Name in the raft; by default the rest of the name."""
    serial: str = ""
    """Serial number."""
    x_mm: float = 0.0
    """Centre of the detector in the focal plane."""
    y_mm: float = 0.0
    """Likewise."""
    yaw_deg: float = 0.0
    """Anticlockwise rotation of the detector about its centre."""


class RawDocument(_Document):
    """Form of the raw files."""

    layout: Literal["segments", "channels", "sections"] = "sections"
    """One HDU per segment with ``DATASEC`` and ``DETSEC``, channels side by side in one HDU, or sections of
    `AmplifierDocument`."""
    pixel_type: Literal["uint16", "int16", "int32", "float32"] = "uint16"
    """Type of the pixels in simulated raws."""
    largest_value: int = Field(default=65535, gt=0)
    """Largest value of the converter, ADU."""
    bias_level: tuple[float, float] = (900.0, 1300.0)
    """Lowest and highest level of simulated overscans, ADU."""
    compressed: bool = False
    """Whether simulated images are tile-compressed."""
    extensions: bool = False
    """Whether images are in extensions, behind a primary HDU without pixels."""
    detector_extension: str | None = None
    """Form of ``EXTNAME``, such as ``{name}``; none by default."""
    section_keywords: Mapping[Literal["data", "overscan", "parallel_overscan", "detector_section"], str] = (
        Field(default_factory=dict)
    )
    """Keywords whose sections, where present, replace those of the amplifiers; ``{amplifier}`` stands for the
    amplifier's name."""


class KeyDocument(_Document):
    """Object keys of raws in the image bucket."""

    layout: Literal["by_detector", "by_night", "by_exposure"] = "by_detector"
    """``<instrument>/<detector>/<group>/...``, or as the LSST cameras or imSim write them."""
    camera_code: str | None = None
    """First two letters of an OBSID in keys by night."""
    aliases: tuple[str, ...] = ()
    """Other names of the instrument in keys."""
    raft_aliases: Mapping[str, str] = Field(default_factory=dict)
    """Names of rafts by their name in keys."""

    @model_validator(mode="after")
    def _has_code(self) -> Self:
        if (self.layout == "by_night") != (self.camera_code is not None):
            raise ValueError("a camera_code belongs to keys by night, and only to them")
        return self


class ExposureDocument(_Document):
    """Numbers of exposures."""

    prefix: str = ""
    """Text before the exposure id in the identifier of an observation."""
    digits: int = Field(default=0, ge=0, le=18)
    """Digits of the exposure id in that identifier, at least."""
    first_simulated: int = 90_000
    step: int = 2
    """First exposure id of a simulated night, and the steps between its exposures."""
    group: KeywordRule | None = None
    """Group of the visit; by default that of the object key, or else the exposure id."""
    snap: KeywordRule | None = None
    """Index in the group, from 0; likewise."""
    rollover_hours: float = Field(default=12.0, ge=-24, le=24)
    """TAI hour at which an observing day begins."""


class HeaderDocument(_Document):
    """Which keyword means what, for an instrument without a translator class of its own."""

    exposure_id: KeywordRule | None = None
    """By default the observing day and the seconds since its begin, ``YYYYMMDDsssss``."""
    observation_id: KeywordRule | None = None
    """Identifier; by default the exposure id with its prefix."""
    detector: KeywordRule
    """Id or name of the detector."""
    physical_filter: KeywordRule
    """Filter, as among the ``filters``."""
    begin: TimeRule
    """Begin of the exposure."""
    end: TimeRule | None = None
    """End of the exposure; by default begin plus exposure time."""
    exposure_time: KeywordRule
    """Exposure time, seconds."""
    dark_time: KeywordRule | None = None
    """Time in which dark current accumulates, seconds; by default the exposure time."""
    ra: AngleRule | None = None
    """Right ascension of the boresight."""
    dec: AngleRule | None = None
    """Declination of the boresight."""
    frame: Literal["icrs", "fk5"] = "icrs"
    """Frame of the pointing."""
    frame_keyword: str | None = None
    """Keyword that names it, where present."""
    equinox_keyword: str | None = None
    """Keyword with the equinox of the pointing, a year such as 2024.5; by default 2000. Positions of another
    equinox are FK5."""
    rotation: RotationRule | None = None
    """Angle of focal-plane +Y, east of north."""
    airmass: KeywordRule | None = None
    """Airmass."""
    azimuth: KeywordRule | None = None
    """Azimuth, degrees."""
    altitude: KeywordRule | None = None
    """Altitude, degrees."""
    zenith_distance: KeywordRule | None = None
    """Zenith distance, degrees, where there is no altitude."""
    observation_type: KeywordRule
    """Type of the observation, as among the ``image_types``."""
    target: KeywordRule | None = None
    """Target."""
    program: KeywordRule | None = None
    """Observing programme."""
    reason: KeywordRule | None = None
    """Reason of the observation."""


class ButlerDocument(_Document):
    """Records of the instrument in Butler repositories."""

    class_name: str = "lsst.pipe.base.Instrument"
    exposure_max: int = 7_050_123_199_999
    detector_max: int | None = None
    """Recorded bound of the detectors' ids; by default one more than the largest."""
    visit_system: int = Field(default=0, ge=0, le=2)
    """0: each exposure is a visit; 1: by group; 2: by sequence numbers of first and last exposure."""


class SimulationDocument(_Document):
    """Typical values, for simulated nights."""

    filter: str
    """Physical filter by default."""
    field: tuple[float, float, str]
    """Right ascension, declination (degrees) and TAI time of the first visit."""
    zero_points: Mapping[str, float]
    """AB magnitude of one electron per second outside the atmosphere, by band; must have band ``r``."""
    seeing: float = 0.8
    template_seeing: float = 0.68
    """Median FWHM, arcsec."""
    header: str | None = None
    """``module:function`` that makes the keywords; by default the reverse of `HeaderDocument`."""
    keywords: Mapping[str, Any] = Field(default_factory=dict)
    """Further keywords of simulated headers."""
    story: Literal["night", "raws"] = "night"
    """What a demonstration shows by default: a night of the service, or the way from raw frames to alerts.

    The latter needs one detector of one amplifier without overscan.
    """
    detectors: tuple[str, ...] = ()
    """Names of the detectors that a demonstration simulates; the central one by default."""
    spreads: Mapping[str, Mapping[Literal["gain", "read_noise", "saturation"], tuple[float, float]]] = Field(
        default_factory=dict
    )
    """Lowest and highest values of amplifiers, by vendor; by default a tenth around the nominal ones."""


class InstrumentDocument(_Document):
    """An instrument."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    """Short name, as in the Butler."""
    description: str = ""
    recognised_by: tuple[Mapping[str, Any], ...] = ()
    """Alternatives: values that all the named keywords have; see `matches`."""
    to_confirm: Mapping[str, str] = Field(default_factory=dict)
    """How to find out what was only guessed, by the path of the value."""
    translator: str | None = None
    """``module:class`` that translates headers; by default `header` says how."""
    identity: str | None = None
    """``module:function`` that makes the keywords of an identity; by default the reverse of `header`."""
    header: HeaderDocument | None = None
    image_types: Mapping[str, str] = Field(default_factory=dict)
    """Type of an observation (science, bias, dark, flat) by its name in headers, in any case."""
    calibration_types: Mapping[Literal["bias", "dark", "flat", "fringe"], tuple[str, ...]] = {
        "bias": ("bias", "zero"),
        "dark": ("dark",),
        "flat": ("flat", "dome flat", "domeflat", "sky flat", "skyflat"),
        "fringe": ("fringe",),
    }
    """Types of the observations of which calibrations are made."""
    site: SiteDocument | None = None
    pixel_mm: float = Field(gt=0)
    plate_scale_arcsec_per_mm: float = Field(gt=0)
    parity_flipped_x: bool
    """Whether focal-plane +X points east, not west, when +Y points north."""
    distortion: tuple[float, float] | tuple[()] = ()
    """Coefficients of r^3 and r^5, r in mm."""
    distortion_bound: float = 0.0
    amplifier_kinds: Mapping[str, AmplifierKind]
    detectors: str | tuple[DetectorDocument, ...]
    """A table beside this file, or a list."""
    electronics: str | None = None
    """A table of gain, read noise and saturation (electrons) by detector and amplifier beside this file."""
    filters: Mapping[str, str]
    """Band by physical filter."""
    gratings: tuple[str, ...] = ()
    """Positions of a grating wheel; a physical filter is then ``filter~grating``."""
    colour_terms: Mapping[str, str] = Field(default_factory=dict)
    """Magnitude in a physical filter as a formula of the reference catalogue's AB magnitudes, such as
    ``r + 0.012 - 0.05 * (g - r)``; by default the magnitude of its band."""
    raw: RawDocument = RawDocument()
    object_keys: KeyDocument = KeyDocument()
    test_groups: bool = False
    """Whether testers announce visits by the number of their first exposure, for which the fan-out has lists
    of detectors."""
    only_keys: bool = False
    """Whether nothing but the object keys and headers is known, so that it has no pipelines."""
    exposures: ExposureDocument = ExposureDocument()
    butler: ButlerDocument = ButlerDocument()
    simulation: SimulationDocument | None = None

    @model_validator(mode="after")
    def _has_name_for_keys(self) -> Self:
        if self.object_keys.layout == "by_detector" and not re.fullmatch(r"\w+", self.name, re.ASCII):
            raise ValueError("the name may contain only letters, digits and _")
        return self

    @model_validator(mode="after")
    def _is_translated(self) -> Self:
        if self.translator is None and self.header is None and not self.only_keys:
            raise ValueError("either header or translator must say how headers are read")
        return self
