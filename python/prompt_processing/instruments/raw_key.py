"""Parse and format the object keys of raws."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from .description.instrument import Instrument
from .description.registry import key_instrument, load_instrument

_SEQUENCE_LIMIT = 100_000
_THOUSAND_YEARS = 1000_00_00

SIMULATED_CONTROLLERS = "HPQS"
"""Control systems of simulations: phoSim, simulated O and C, simulated images."""
CONTROLLERS = "OC" + SIMULATED_CONTROLLERS
"""One-letter codes of control systems, in the order in which exposure ids number them."""
_LAST_OWN_COUNT = {"C": 20231004, "P": 20250417, "Q": 20250417, "S": 20250417}
"""Last day on which a control system counted its own exposures."""
_NIGHT_EXTENSIONS = (".fits", ".fits.fz", ".fz", ".fits.gz")

_NIGHT_KEY = re.compile(
    r"(?P<instrument>[^/]+)/(?P<day>\d{8})/(?P<obs_id>(?P<camera>[A-Z]{2})_(?P<controller>[A-Z])_(?P=day)_(?P<seq>\d{6}))/"
    r"(?P=obs_id)_(?P<raft>R\w\w)_(?P<sensor>S\w\w)(?P<extension>\.fits\.fz|\.fits\.gz|\.fits|\.fz)",
    re.ASCII,
)
_EXPOSURE_KEY = re.compile(
    r"(?P<instrument>[^/]+)/(?P<day>\d{8})/(?P<exposure>\d{1,18})/"
    r"(?P=exposure)_(?P<filter>[^/]+?)_(?P<detector>\d{1,9})_(?P<raft>R\d\d)_(?P<sensor>S\w\d)\.f[^/]*",
    re.ASCII,
)
_OTHER_KEY = re.compile(
    r"(?P<instrument>[A-Za-z]\w*)/(?P<detector>\d{1,9})/(?P<group>[^/]+)/(?P<snap>\d{1,9})/(?P<exposure>\d{1,18})/"
    r"(?P<filter>[^/]+)/(?P<file>[^/]+?)\.f[^/]*",
    re.ASCII,
)
_LONGEST_KEY = 1024
"""Bytes, in S3."""
_LONGEST_NAME = 255
"""Bytes of one component of a key, which may become a file name."""


@dataclass(frozen=True, slots=True)
class RawKey:
    """Identity of a raw in the image bucket.

    Attributes
    ----------
    instrument
        Short name, as in the Butler.
    detector, exposure
        Ids.
    group
        Group; `None` if the key does not hold it, as for LSST, where the sidecar does.
    snap
        Index from 0; `None` if the key does not hold it.
    physical_filter
        Filter; `None` if the key does not hold it.
    key
        The key itself.
    """

    instrument: str
    detector: int
    exposure: int
    group: str | None
    snap: int | None
    physical_filter: str | None
    key: str

    @classmethod
    def parse(cls, key: str) -> RawKey | None:
        """Parse a key.

        Parameters
        ----------
        key
            Key without URL encoding.

        Returns
        -------
        raw_key
            `None` for anything else than a raw: sidecars, guider files,
            detectors that the camera lacks, and keys that clients could
            resolve to another location.
        """
        if _leads_elsewhere(key):
            return None
        if match := _NIGHT_KEY.fullmatch(key):
            instrument, sequence = key_instrument(match["instrument"]), int(match["seq"])
            if (
                instrument is None
                or instrument.document.object_keys.camera_code != match["camera"]
                or sequence >= _SEQUENCE_LIMIT
            ):
                return None
            detector = _detector_number(instrument, match["raft"], match["sensor"])
            if detector is None:
                return None
            exposure = lsst_exposure_id(int(match["day"]), sequence, match["controller"])
            return cls(instrument.name, detector, exposure, None, None, None, key)
        if match := _EXPOSURE_KEY.fullmatch(key):
            instrument = key_instrument(match["instrument"])
            if instrument is None or instrument.document.object_keys.layout != "by_exposure":
                return None
            number = _detector_number(instrument, match["raft"], match["sensor"])
            if number is None or number != int(match["detector"]):
                return None
            return cls(instrument.name, number, int(match["exposure"]), None, None, match["filter"], key)
        if (match := _OTHER_KEY.fullmatch(key)) and not has_night_keys(match["instrument"]):
            return cls(
                match["instrument"],
                int(match["detector"]),
                int(match["exposure"]),
                match["group"],
                int(match["snap"]),
                match["filter"],
                key,
            )
        return None

    @property
    def obs_id(self) -> str | None:
        """The OBSID in an LSST key; `None` for other cameras."""
        match = _NIGHT_KEY.fullmatch(self.key)
        return match["obs_id"] if match else None

    def sidecar_key(self) -> str:
        """Return the key of the JSON object that holds the header."""
        if match := _NIGHT_KEY.fullmatch(self.key):
            return self.key.removesuffix(match["extension"]) + ".json"
        return re.sub(r"\.f[^/]*$", ".json", self.key)


def lsst_exposure_id(day_obs: int, sequence: int, controller: str | None = None) -> int:
    """Return the id of an LSST exposure.

    Some control systems used to count separately: the camera's (C) until
    4 October 2023, those of simulations until 17 April 2025 (phoSim, H,
    permanently). Their days are a thousand years later for each position in
    `CONTROLLERS`.

    Parameters
    ----------
    day_obs
        ``YYYYMMDD``.
    sequence
        Sequence number of the day.
    controller
        Letter of the control system; the observatory's by default.

    Raises
    ------
    ValueError
        Raised if the sequence number has more than five digits, or no controller
        has that letter.
    """
    if not 0 <= sequence < _SEQUENCE_LIMIT:
        raise ValueError(f"Sequence number {sequence} is not between 0 and {_SEQUENCE_LIMIT - 1}.")
    place = CONTROLLERS.find(controller) if controller else 0
    if place < 0 or (controller and len(controller) != 1):
        raise ValueError(f"{controller!r} is not a controller: {', '.join(CONTROLLERS)}.")
    if day_obs > _LAST_OWN_COUNT.get(controller or "O", 99999999):
        place = 0
    return (day_obs + place * _THOUSAND_YEARS) * _SEQUENCE_LIMIT + sequence


def format_obs_id(instrument: str, exposure: int, controller: str = "O") -> str:
    """Return an exposure's OBSID, or HSC's EXP-ID.

    Parameters
    ----------
    instrument
        Short name.
    exposure
        Id.
    controller
        Letter of the control system; O is the observatory's.

    Raises
    ------
    ValueError
        The exposure id cannot be one of this instrument.
    """
    described = load_instrument(instrument)
    if has_night_keys(instrument):
        day, sequence = divmod(exposure, _SEQUENCE_LIMIT)
        if len(str(day)) != 8:
            raise ValueError(f"{exposure} is not an exposure id of {instrument}: YYYYMMDD and five digits.")
        code = described.document.object_keys.camera_code
        return f"{code}_{controller}_{day}_{sequence:06d}"
    digits = described.document.exposures.digits
    if exposure < 0 or (digits and exposure >= 10**digits):
        raise ValueError(
            f"{exposure} is not an exposure id of {instrument}: it has more than {digits} digits."
        )
    return described.observation_id_of(exposure)


def format_raw_key(
    instrument: str,
    detector: int,
    exposure: int,
    *,
    group: str | None = None,
    snap: int = 0,
    physical_filter: str | None = None,
    controller: str = "O",
    extension: str = ".fits",
) -> RawKey:
    """Return the key of a raw, which `RawKey.parse` can parse.

    Parameters
    ----------
    instrument
        Short name.
    detector, exposure
        Ids.
    group
        Needed for cameras other than LSST's.
    snap
        Index from 0; not in the keys of LSST cameras.
    physical_filter
        Needed for cameras other than LSST's.
    controller
        Letter in the OBSID of LSST cameras.
    extension
        Extension of the file.

    Raises
    ------
    ValueError
        Raised if a part is missing or invalid.
    """
    if has_night_keys(instrument):
        described = load_instrument(instrument)
        if detector not in described.camera.detectors:
            raise ValueError(f"{instrument} has no detector {detector}.")
        name = described.camera.detectors[detector].name
        if extension not in _NIGHT_EXTENSIONS:
            raise ValueError(f"{extension} is not an extension of raws: {', '.join(_NIGHT_EXTENSIONS)}.")
        obs_id = format_obs_id(instrument, exposure, controller)
        for in_keys, raft in described.document.object_keys.raft_aliases.items():
            name = name.replace(raft, in_keys)
        key = f"{instrument}/{exposure // _SEQUENCE_LIMIT}/{obs_id}/{obs_id}_{name}{extension}"
        return RawKey(instrument, detector, exposure, None, None, None, key)
    if not group or not physical_filter:
        raise ValueError(f"A key of {instrument} needs a group and a filter.")
    key = (
        f"{instrument}/{detector}/{group}/{snap}/{exposure}/{physical_filter}/"
        f"{instrument}-{exposure}-{detector:03d}{extension}"
    )
    made = RawKey(instrument, detector, exposure, group, snap, physical_filter, key)
    if RawKey.parse(key) != made:
        raise ValueError(f"Group {group!r} and filter {physical_filter!r} do not make the key of a raw.")
    return made


def _leads_elsewhere(key: str) -> bool:
    """Return whether a client could resolve a key to another folder, or not at all.

    Keys become parts of URIs and file names, which clients and stores decode in different ways.
    """
    try:
        if len(key.encode()) > _LONGEST_KEY:
            return True
    except UnicodeEncodeError:
        return True
    reading, decoded = None, key
    while reading != decoded:
        parts = decoded.replace("\\", "/").split("/")
        if {"", ".", ".."} & set(parts) or any(len(part.encode()) > _LONGEST_NAME for part in parts):
            return True
        if not decoded.isprintable():
            return True
        # Repeatedly encoded keys are just as harmful; each decoding shortens the key.
        reading, decoded = decoded, unquote(decoded)
    return False


def visit_prefixes(instrument: str, detector: int, group: str, nights: Iterable[int]) -> tuple[str, ...]:
    """Return the prefixes under which the bucket holds a visit's raws.

    Parameters
    ----------
    instrument
        Short name.
    detector
        Detector id.
    group
        Group of the visit.
    nights
        Possible observing days of the visit, ``YYYYMMDD``.

    Returns
    -------
    prefixes
        For LSST cameras they cover the raws of the whole day, for others only
        those of the visit and detector.
    """
    if not has_night_keys(instrument):
        return (f"{instrument}/{detector}/{group}/",)
    names = [instrument, *load_instrument(instrument).document.object_keys.aliases]
    return tuple(f"{name}/{night}/" for night in dict.fromkeys(nights) for name in names)


def has_night_keys(instrument: str) -> bool:
    """Return whether an instrument's keys are ordered by night, as those of the LSST cameras."""
    described = key_instrument(instrument)
    return described is not None and described.document.object_keys.layout == "by_night"


def detector_number(instrument: str, raft: str, sensor: str) -> int | None:
    """Return the id of a detector by its name in keys by night, or `None` if it does not exist."""
    return _detector_number(load_instrument(instrument), raft, sensor)


def _detector_number(instrument: Instrument, raft: str, sensor: str) -> int | None:
    raft = instrument.document.object_keys.raft_aliases.get(raft, raft)
    return instrument.detector_numbers.get(f"{raft}_{sensor}")
