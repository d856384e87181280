"""Object keys of raws: from and to what identifies the image."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from urllib.parse import unquote

LSST_CAMERA_CODES: Mapping[str, str] = {
    "LATISS": "AT",
    "LSSTComCam": "CC",
    "LSSTComCamSim": "CC",
    "LSSTCam": "MC",
    "LSST-TS8": "TS",
}
"""First part of an OBSID, by instrument."""

_KEY_PREFIX_ALIASES = {"ComCam": "LSSTComCam", "TS8": "LSST-TS8"}
_IMSIM = "LSSTCam-imSim"
_SEQUENCE_LIMIT = 100_000
_THOUSAND_YEARS = 1000_00_00

SIMULATED_CONTROLLERS = "HPQS"
"""Control systems of simulations: phoSim, simulated O and C, simulated images."""
CONTROLLERS = "OC" + SIMULATED_CONTROLLERS
"""One-letter codes of control systems, in the order in which exposure ids number them."""
_LAST_OWN_COUNT = {"C": 20231004, "P": 20250417, "Q": 20250417, "S": 20250417}
"""Last day on which a control system counted exposures for itself."""
_LSST_EXTENSIONS = (".fits", ".fits.fz", ".fz", ".fits.gz")

_LSST_KEY = re.compile(
    r"(?P<instrument>[^/]+)/(?P<day>\d{8})/(?P<obs_id>(?P<camera>[A-Z]{2})_(?P<controller>[A-Z])_(?P=day)_(?P<seq>\d{6}))/"
    r"(?P=obs_id)_(?P<raft>R\w\w)_(?P<sensor>S\w\w)(?P<extension>\.fits\.fz|\.fits\.gz|\.fits|\.fz)",
    re.ASCII,
)
_IMSIM_KEY = re.compile(
    r"(?P<instrument>LSSTCam-imSim)/(?P<day>\d{8})/(?P<exposure>\d{1,18})/"
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
"""Bytes of a part of a key that is to be a file."""


@dataclass(frozen=True, slots=True)
class RawKey:
    """A raw's place in the image bucket.

    Attributes
    ----------
    instrument : `str`
        Short name, as in the Butler.
    detector, exposure : `int`
        Ids.
    group : `str` or `None`
        `None` where the key does not hold it: for LSST it is in the sidecar.
    snap : `int` or `None`
        From 0; `None` where the key does not hold it.
    physical_filter : `str` or `None`
        `None` where the key does not hold it.
    key : `str`
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
        """Read a key.

        Parameters
        ----------
        key : `str`
            Plain, that is not URL-encoded.

        Returns
        -------
        raw_key : `RawKey` or `None`
            `None` for anything that is not a raw: sidecars, guider files,
            detectors that the camera does not have, keys that lead anywhere
            but where they seem to.
        """
        if _leads_elsewhere(key):
            return None
        if match := _LSST_KEY.fullmatch(key):
            instrument = _KEY_PREFIX_ALIASES.get(match["instrument"], match["instrument"])
            sequence = int(match["seq"])
            if LSST_CAMERA_CODES.get(instrument) != match["camera"] or sequence >= _SEQUENCE_LIMIT:
                return None
            detector = detector_number(instrument, match["raft"], match["sensor"])
            if detector is None:
                return None
            return cls(
                instrument,
                detector,
                lsst_exposure_id(int(match["day"]), sequence, match["controller"]),
                None,
                None,
                None,
                key,
            )
        if match := _IMSIM_KEY.fullmatch(key):
            number = detector_number(_IMSIM, match["raft"], match["sensor"])
            if number is None or number != int(match["detector"]):
                return None
            return cls(_IMSIM, number, int(match["exposure"]), None, None, match["filter"], key)
        if (match := _OTHER_KEY.fullmatch(key)) and match["instrument"] not in LSST_CAMERA_CODES:
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
        match = _LSST_KEY.fullmatch(self.key)
        return match["obs_id"] if match else None

    def sidecar_key(self) -> str:
        """Return the key of the JSON object that holds the header."""
        if match := _LSST_KEY.fullmatch(self.key):
            return self.key.removesuffix(match["extension"]) + ".json"
        return re.sub(r"\.f[^/]*$", ".json", self.key)


def lsst_exposure_id(day_obs: int, sequence: int, controller: str | None = None) -> int:
    """Return the id of an LSST exposure.

    Control systems counted for themselves once: the camera's own (C) until
    4 October 2023, those of simulations until 17 April 2025 (of phoSim, H,
    for ever). Their days are a thousand years later for each place in
    `CONTROLLERS`.

    Parameters
    ----------
    day_obs : `int`
        ``YYYYMMDD``.
    sequence : `int`
        Sequence number of the day.
    controller : `str`, optional
        One letter; the observatory's by default.

    Raises
    ------
    ValueError
        The sequence number has more than five digits, or no controller has
        that letter.
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
    instrument : `str`
        Short name.
    exposure : `int`
        Id.
    controller : `str`, optional
        One letter; O is the observatory's control system.

    Raises
    ------
    ValueError
        The exposure id cannot be one of this instrument.
    """
    if instrument in LSST_CAMERA_CODES:
        day, sequence = divmod(exposure, _SEQUENCE_LIMIT)
        if len(str(day)) != 8:
            raise ValueError(f"{exposure} is not an exposure id of {instrument}: YYYYMMDD and five digits.")
        return f"{LSST_CAMERA_CODES[instrument]}_{controller}_{day}_{sequence:06d}"
    if not 0 <= exposure < 10**8:
        raise ValueError(f"{exposure} is not an exposure id of {instrument}: it has more than eight digits.")
    return f"HSCE{exposure:08d}"


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
    """Make the key of a raw; `RawKey.parse` reads it again.

    Parameters
    ----------
    instrument : `str`
        Short name.
    detector, exposure : `int`
        Ids.
    group : `str`, optional
        Needed for cameras other than LSST's.
    snap : `int`, optional
        From 0; not in the key of LSST cameras.
    physical_filter : `str`, optional
        Needed for cameras other than LSST's.
    controller : `str`, optional
        For LSST cameras, the letter in the OBSID.
    extension : `str`, optional
        Of the file.

    Raises
    ------
    ValueError
        A part is missing or impossible.
    """
    if instrument in LSST_CAMERA_CODES:
        name = {number: name for name, number in _detector_numbers(instrument).items()}.get(detector)
        if name is None:
            raise ValueError(f"{instrument} has no detector {detector}.")
        if extension not in _LSST_EXTENSIONS:
            raise ValueError(f"{extension} is not an extension of raws: {', '.join(_LSST_EXTENSIONS)}.")
        obs_id = format_obs_id(instrument, exposure, controller)
        name = name.replace("RXX", "R00")
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
    """Tell whether somebody could read the key as one of another folder, or not at all.

    Keys become parts of URIs and file names, in clients and stores that decode them as they please.
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
        # Encoded twice is as bad as once; each decoding makes it shorter.
        reading, decoded = decoded, unquote(decoded)
    return False


def visit_prefixes(instrument: str, detector: int, group: str, nights: Iterable[int]) -> tuple[str, ...]:
    """Return under which prefixes the bucket holds a visit's raws.

    Parameters
    ----------
    instrument : `str`
        Short name.
    detector : `int`
        Id.
    group : `str`
        The visit's.
    nights : iterable of `int`
        Observing days (``YYYYMMDD``) that the visit can be of.

    Returns
    -------
    prefixes : `tuple` of `str`
        For LSST cameras they hold the raws of the whole day, for others those
        of the visit and detector only.
    """
    if instrument not in LSST_CAMERA_CODES:
        return (f"{instrument}/{detector}/{group}/",)
    names = [instrument, *(alias for alias, name in _KEY_PREFIX_ALIASES.items() if name == instrument)]
    return tuple(f"{name}/{night}/" for night in dict.fromkeys(nights) for name in names)


def detector_number(instrument: str, raft: str, sensor: str) -> int | None:
    """Return the id of an LSST detector, or `None` if there is no such one.

    LATISS calls its raft ``R00`` in files and ``RXX`` elsewhere.
    """
    if instrument == "LATISS" and raft == "R00":
        raft = "RXX"
    return _detector_numbers(instrument).get(f"{raft}_{sensor}")


@functools.cache
def _detector_numbers(instrument: str) -> Mapping[str, int]:
    # Read once: a key is parsed for every notice, and the file never changes.
    if instrument == "LSST-TS8":
        return {f"R22_S{x}{y}": 3 * x + y for x in range(3) for y in range(3)}
    file = {"LSSTComCamSim": "LSSTComCam", _IMSIM: "LSSTCam"}.get(instrument, instrument)
    text = (resources.files(__package__) / "data" / f"{file}.csv").read_text(encoding="utf-8")
    return {row["name"]: int(row["id"]) for row in csv.DictReader(text.splitlines())}
