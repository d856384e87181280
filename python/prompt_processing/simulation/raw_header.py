"""Headers in the form that each camera's software writes."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle

from prompt_processing.instruments import Detector, RawKey, format_raw_key
from prompt_processing.instruments.raw_key import has_night_keys
from prompt_processing.instruments.raw_writer import identity_keywords

from .planning import READOUT_SECONDS, PlannedExposure

_INSTRUMENT_KEYWORDS = {
    "LSSTCam": {"INSTRUME": "lsstCam", "TELESCOP": "Simonyi Survey Telescope", "PLATFORM": "lsstcam"},
    "LSSTComCam": {"INSTRUME": "ComCam", "TELESCOP": "Simonyi Survey Telescope", "PLATFORM": "comcam"},
    "LATISS": {"INSTRUME": "LATISS", "TELESCOP": "LSST AuxTelescope", "PLATFORM": "auxtel"},
}
_SITES = {
    "LSSTCam": (-70.749417, -30.244639, 1818938.94, -5208470.95, -3195172.08),
    "LSSTComCam": (-70.749417, -30.244639, 1818938.94, -5208470.95, -3195172.08),
    "LATISS": (-70.7476862, -30.2447889, 1819093.52, -5208408.1, -3195186.45),
}


def raw_key(planned: PlannedExposure, detector: Detector) -> RawKey:
    """Return the object key of a raw in the image bucket."""
    return format_raw_key(
        planned.instrument,
        detector.id,
        planned.exposure,
        group=planned.group,
        snap=planned.snap,
        physical_filter=planned.physical_filter,
    )


def raw_header(planned: PlannedExposure, detector: Detector) -> dict[str, Any]:
    """Make the primary header of a raw.

    Parameters
    ----------
    planned
        Exposure; the header has its announced pointing, not the true one.
    detector : `~prompt_processing.instruments.Detector`

    Returns
    -------
    header
        Header without keywords of the file's layout.
    """
    identity = identity_keywords(
        planned.instrument,
        exposure=planned.exposure,
        group=planned.group,
        begin=planned.begin,
        end=planned.begin + (planned.exposure_time + READOUT_SECONDS) * u.s,
        snap=planned.snap,
        snaps=planned.snaps,
    )
    if has_night_keys(planned.instrument):
        return {**identity, **_lsst(planned, detector)}
    return {**identity, **_hsc(planned, detector)}


def _lsst(planned: PlannedExposure, detector: Detector) -> dict[str, Any]:
    longitude, latitude, x, y, z = _SITES[planned.instrument]
    elevation = float(np.degrees(np.arcsin(1 / planned.conditions.airmass)))
    filter_name, _, grating = planned.physical_filter.partition("~")
    vendor = "E2V" if detector.vendor == "E2V" else "ITL"
    slot = {"RAFTBAY": detector.raft.replace("RXX", "R00"), "CCDSLOT": detector.sensor}
    header: dict[str, Any] = {
        "BINX": 1,
        "BINY": 1,
        "CCDGAIN": 1.0,
        "CCDNOISE": 10.0,
        "IMGTYPE": "OBJECT",
        "BUNIT": "adu",
        **_INSTRUMENT_KEYWORDS[planned.instrument],
        "OBS-LONG": longitude,
        "OBS-LAT": latitude,
        "OBS-ELEV": 2663.0,
        "OBSGEO-X": x,
        "OBSGEO-Y": y,
        "OBSGEO-Z": z,
        "FACILITY": "Vera C. Rubin Observatory",
        "RA": planned.ra,
        "DEC": planned.dec,
        "RASTART": planned.ra,
        "DECSTART": planned.dec,
        "RAEND": planned.ra,
        "DECEND": planned.dec,
        "ROTPA": planned.rotation,
        "ROTCOORD": "sky",
        "HASTART": -1.0,
        "ELSTART": elevation,
        "AZSTART": 60.0,
        "AMSTART": planned.conditions.airmass,
        "HAEND": -0.99,
        "ELEND": elevation,
        "AZEND": 60.0,
        "AMEND": planned.conditions.airmass,
        "TRACKSYS": "RADEC",
        "RADESYS": "ICRS",
        "FOCUSZ": 0.1,
        "OBJECT": planned.target,
        "VIGNETTE": "NO",
        "VIGN_MIN": "NO",
        "TESTTYPE": "OBJECT",
        "PROGRAM": planned.survey,
        "REASON": "field_survey_science",
        "TSTAND": None,
        "IMAGETAG": f"{planned.exposure:016x}",
        "OBSANNOT": "",
        "CCD_MANU": vendor,
        "CCD_TYPE": "CCD250" if vendor == "E2V" else "3800C",
        **slot,
        "LSST_NUM": detector.serial
        or f"{vendor}-{'CCD250' if vendor == 'E2V' else '3800C'}-{detector.id:03d}",
        "DAQPART": "camera",
        "DAQFOLD": "raw",
        "SEQFILE": f"FP_{vendor}_2s_l3cp_v30.seq",
        "SEQNAME": f"FP_{vendor}_2s_l3cp_v30.seq",
        "FILTBAND": planned.band,
        "FILTER": filter_name,
        "FILTSLOT": 2,
        "EXPTIME": planned.exposure_time,
        "DARKTIME": planned.exposure_time + READOUT_SECONDS,
        "SHUTTIME": planned.exposure_time,
        "AIRTEMP": 9.7,
        "PRESSURE": 74210.0,
        "HUMIDITY": 11.2,
        "WINDSPD": 5.9,
        "WINDDIR": 5.5,
        "SEEING": None,
        "FILENAME": raw_key(planned, detector).key.rpartition("/")[2],
        "HEADVER": 2,
    }
    if planned.instrument == "LATISS":
        # The grating wheel is behind the filter wheel; "empty" is one of its positions.
        header |= {
            "GRATING": "empty_1" if grating in ("", "empty") else grating,
            "GRATSLOT": 0,
            "GRATBAND": "EMPTY",
        }
    return header


def _hsc(planned: PlannedExposure, detector: Detector) -> dict[str, Any]:
    ra = Angle(planned.ra, u.deg).to_string(unit=u.hourangle, sep=":", precision=4, pad=True)
    dec = Angle(planned.dec, u.deg).to_string(unit=u.deg, sep=":", precision=3, pad=True, alwayssign=True)
    altitude = float(np.degrees(np.arcsin(1 / planned.conditions.airmass)))
    header: dict[str, Any] = {
        "INSTRUME": "Hyper Suprime-Cam",
        "TELESCOP": "Subaru",
        "PROP-ID": "o16999",
        "OBSERVER": "simulated",
        "OBS-MOD": "IMAG",
        "OBS-ALOC": "Observation",
        "RA": ra,
        "DEC": dec,
        "RA2000": ra,
        "DEC2000": dec,
        "EQUINOX": 2000.0,
        "AIRMASS": planned.conditions.airmass,
        "SECZ-STR": f"{planned.conditions.airmass:.3f}",
        "ALTITUDE": altitude,
        "AZIMUTH": 226.7,
        "TELFOCUS": "P_OPT2",
        "WEATHER": "Fine",
        # HSC software computes the angle on the sky as 270 degrees minus INST-PA.
        "INST-PA": (270.0 - planned.rotation) % 360,
        "INR-STR": 43.2,
        "EXPTIME": planned.exposure_time,
        "OBJECT": planned.target,
        "DATA-TYP": "OBJECT",
        "FILTER01": planned.physical_filter,
        "FRAMEID": f"HSCA{planned.exposure % 1_000_000:06d}{detector.id % 100:02d}",
        "DET-ID": detector.id,
        "OUT-TMP": 272.35,
        "OUT-HUM": 33.2,
        "OUT-PRS": 621.7,
        "T_CCDTV": -101.158,
        "T_CCDSN": detector.serial,
        "T_CCDID": detector.name,
    }
    for number, amplifier in enumerate(detector.amplifiers, start=1):
        header[f"T_GAIN{number}"] = round(amplifier.gain, 2)
    return header
