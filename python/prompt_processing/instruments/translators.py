"""Header translators by instrument, in terms of astro_metadata_translator.

That package includes HSC's translator. The translators of the LSST cameras are
in `lsst_translator`. They have no ``name``, so that they are not entered in the
package's registry, where they would replace another distribution's. They are
always passed explicitly.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from astro_metadata_translator import MetadataTranslator
from astro_metadata_translator.translators import HscTranslator

from .errors import HeaderError
from .latiss_translator import LatissTranslator
from .lsst_translator import ComCamSimTranslator, ComCamTranslator, LsstCamTranslator

__all__ = ["INSTRUMENT_ALIASES", "instrument_of", "translator_for"]

INSTRUMENT_ALIASES: Mapping[str, str] = {
    "latiss": "LATISS",
    "lsst_atiss": "LATISS",
    "lsstcam": "LSSTCam",
    "comcam": "LSSTComCam",
    "lsstcomcam": "LSSTComCam",
    "comcamsim": "LSSTComCamSim",
    "lsstcomcamsim": "LSSTComCamSim",
}
"""Short name by INSTRUME of the LSST cameras, in lower case."""

_TRANSLATORS: Mapping[str, type[MetadataTranslator]] = {
    "LSSTCam": LsstCamTranslator,
    "LSSTComCam": ComCamTranslator,
    "LSSTComCamSim": ComCamSimTranslator,
    "LATISS": LatissTranslator,
    "HSC": HscTranslator,
}


def instrument_of(header: Mapping[str, Any]) -> str:
    """Return the short name of the instrument that wrote a header.

    Raises
    ------
    HeaderError
        Raised if the instrument is unknown.
    """
    value = header.get("INSTRUME")
    name = value.strip().lower() if isinstance(value, str) else ""
    if name in INSTRUMENT_ALIASES:
        return INSTRUMENT_ALIASES[name]
    if name == "lsst_camera" and header.get("TELCODE") == "CC":
        return "LSSTComCam"
    if header.get("DETNAME") == "RXX_S00":
        return "LATISS"  # Early files and calibrations name only the detector.
    # can_translate raises if a keyword is not a string: then the header is not HSC's.
    with suppress(AttributeError):
        if HscTranslator.can_translate(header):
            return "HSC"
    raise HeaderError("INSTRUME", "is missing." if value is None else f"{value!r} is not a known instrument.")


def translator_for(instrument: str) -> type[MetadataTranslator]:
    """Return the translator of an instrument that `instrument_of` returned."""
    return _TRANSLATORS[instrument]
