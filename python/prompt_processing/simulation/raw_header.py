"""Headers in the form that each camera's software writes."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle

from prompt_processing.instruments import Detector, Instrument, RawKey, format_raw_key, load_instrument
from prompt_processing.instruments.description.cards import described_cards
from prompt_processing.instruments.description.instrument import load_named
from prompt_processing.instruments.raw_writer import identity_keywords

from .planning import READOUT_SECONDS, PlannedExposure


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
    described = load_instrument(planned.instrument)
    writer = described.simulation.header
    if writer is None:
        return {**identity, **_described_header(described, planned, detector)}
    return {**identity, **load_named(writer)(planned, detector)}


def _described_header(instrument: Instrument, planned: PlannedExposure, detector: Detector) -> dict[str, Any]:
    """Return the keywords of a raw by the rules of its instrument."""
    altitude = float(np.degrees(np.arcsin(1 / planned.conditions.airmass)))
    values = {
        "physical_filter": planned.physical_filter,
        "exposure_time": planned.exposure_time,
        "dark_time": planned.exposure_time + READOUT_SECONDS,
        "ra": planned.ra,
        "dec": planned.dec,
        "rotation": planned.rotation,
        "airmass": planned.conditions.airmass,
        "azimuth": 60.0,
        "altitude": altitude,
        "zenith_distance": 90.0 - altitude,
        "observation_type": "science",
        "target": planned.target,
        "program": planned.survey,
    }
    return {**instrument.simulation.keywords, **described_cards(instrument, detector.id, values)}


def lsst_header(planned: PlannedExposure, detector: Detector) -> dict[str, Any]:
    """Return the keywords of an LSST camera's raw, without those of its identity."""
    elevation = float(np.degrees(np.arcsin(1 / planned.conditions.airmass)))
    filter_name, _, grating = planned.physical_filter.partition("~")
    vendor = "E2V" if detector.vendor == "E2V" else "ITL"
    raft_names = load_instrument(planned.instrument).document.object_keys.raft_aliases
    in_files = {name: alias for alias, name in raft_names.items()}
    slot = {"RAFTBAY": in_files.get(detector.raft, detector.raft), "CCDSLOT": detector.sensor}
    header: dict[str, Any] = {
        "BINX": 1,
        "BINY": 1,
        "CCDGAIN": 1.0,
        "CCDNOISE": 10.0,
        "IMGTYPE": "OBJECT",
        "BUNIT": "adu",
        **load_instrument(planned.instrument).simulation.keywords,
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
    if load_instrument(planned.instrument).document.gratings:
        # The grating wheel is behind the filter wheel; "empty" is one of its positions.
        header |= {
            "GRATING": "empty_1" if grating in ("", "empty") else grating,
            "GRATSLOT": 0,
            "GRATBAND": "EMPTY",
        }
    return header


def hsc_header(planned: PlannedExposure, detector: Detector) -> dict[str, Any]:
    """Return the keywords of a raw of Hyper Suprime-Cam, without those of its identity."""
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
