"""Keywords that identify exposures of cameras with translator classes of their own."""

from __future__ import annotations

from typing import Any

import astropy.units as u

from .description.cards import Identity
from .raw_key import format_obs_id

__all__ = ["lsst_identity", "subaru_identity"]

_HAWAII_BEHIND_UTC = 10 * u.hour


def lsst_identity(instrument: str, identity: Identity) -> dict[str, Any]:
    """Return the keywords of an LSST camera."""
    begin, end = identity.begin, identity.end
    obs_id = format_obs_id(instrument, identity.exposure, identity.controller)
    keywords: dict[str, Any] = {
        "OBSID": obs_id,
        "CAMCODE": obs_id.partition("_")[0],
        "CONTRLLR": identity.controller,
        "DAYOBS": str(identity.exposure // 100_000),
        "SEQNUM": identity.exposure % 100_000,
        "GROUPID": identity.group,
        "CURINDEX": identity.snap + 1,
        "MAXINDEX": identity.snaps,
        "TIMESYS": "TAI",
    }
    for suffix, time in (("", end), ("-TRG", end), ("-OBS", begin), ("-BEG", begin), ("-END", end)):
        keywords[f"DATE{suffix}"] = time.tai.isot
        keywords[f"MJD{suffix}"] = float(time.tai.mjd)
    return keywords


def subaru_identity(instrument: str, identity: Identity) -> dict[str, Any]:
    """Return the keywords of Subaru's prime-focus camera."""
    begin, end = identity.begin, identity.end
    keywords: dict[str, Any] = {
        "EXP-ID": format_obs_id(instrument, identity.exposure),
        "GROUPID": identity.group,
        "SNAP": identity.snap,
        "DATE-OBS": begin.utc.isot[:10],
    }
    for suffix, time in (("", begin), ("-STR", begin), ("-END", end)):
        keywords[f"UT{suffix}"] = time.utc.isot[11:]
        keywords[f"HST{suffix}"] = (time.utc - _HAWAII_BEHIND_UTC).isot[11:]
        keywords[f"MJD{suffix}"] = float(time.utc.mjd)
    return keywords
