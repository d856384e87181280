"""Exposure records of the observatory's translators and of ours, from their headers and corrections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from astro_metadata_translator.tests import read_test_file
from astropy.time import Time
from checkouts import Neighbours

from prompt_processing.instruments import exposure_dimension_record_fields, translate
from prompt_processing.instruments.errors import HeaderError

OTHER_CAMERAS = ("UCD-", "phosim-", "ts3-")
"""Laboratory cameras and simulations that are unknown here."""
EARLY_STAND = ("ts8-E2V-",)
"""Headers of 2017 and 2018, which do not name the stand."""
CORRECTED = {
    "LATISS": "latiss-AT_O_20240624_000106_R00_S00.yaml",
    "LSSTCam": "lsstCam-MC_O_20250609_000578_R01_S01.yaml",
    "LSSTComCam": "comCam-CC_O_20241108_000266_R22_S00.yaml",
}
"""Header of each camera of which those of corrected exposures are made."""


def theirs(neighbours: Neighbours, headers: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    file = folder / "headers.json"
    file.write_text(json.dumps(headers, default=str))
    command = neighbours.command("translate_headers.py", neighbours.path("obs_lsst"), file)
    found: dict[str, dict[str, Any]] = neighbours.run(command, neighbours.environment())
    return found


def ours(header: dict[str, Any]) -> dict[str, Any]:
    try:
        observation = translate(header)
    except HeaderError as error:
        return {"refused": str(error)}
    fields = exposure_dimension_record_fields(observation)
    del fields["timespan"]
    return {
        **fields,
        "begin": float(observation.begin.unix_tai),
        "end": float(observation.end.unix_tai),
    }


def read(path: Path) -> dict[str, Any]:
    header = dict(read_test_file(str(path)))
    header.pop("__COLLECTION__", None)
    return {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in header.items()}


def assert_equal_records(headers: dict[str, Any], expected: dict[str, dict[str, Any]]) -> None:
    for name, header in headers.items():
        found = ours(header)
        if "refused" in expected[name] or "refused" in found:
            assert ("refused" in expected[name]) == ("refused" in found), (name, expected[name], found)
            continue
        for key, value in expected[name].items():
            wanted = pytest.approx(value, abs=1e-6) if isinstance(value, float) else value
            assert found[key] == wanted, (name, key)


def test_records_of_their_headers_are_equal(neighbours: Neighbours, tmp_path: Path) -> None:
    left_out = (*OTHER_CAMERAS, *EARLY_STAND)
    headers = {
        path.name: read(path)
        for path in sorted(neighbours.path("obs_lsst", "tests", "headers").iterdir())
        if path.suffix in {".yaml", ".json"} and not path.name.startswith(left_out)
    }
    assert len(headers) > 40
    assert_equal_records(headers, theirs(neighbours, headers, tmp_path))


def test_corrected_exposures_have_equal_records(neighbours: Neighbours, tmp_path: Path) -> None:
    headers = dict(corrected_exposures(neighbours.path("obs_lsst")))
    assert len(headers) > 5000
    assert_equal_records(headers, theirs(neighbours, headers, tmp_path))


def corrected_exposures(checkout: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a header of each exposure of which the checkout has corrections."""
    like = {name: read(checkout / "tests" / "headers" / file) for name, file in CORRECTED.items()}
    for path in sorted((checkout / "corrections").glob("*.yaml")):
        instrument, _, obs_id = path.stem.partition("-")
        day, sequence = obs_id.split("_")[2:]
        begin = Time(f"{day[:4]}-{day[4:6]}-{day[6:]}T23:00:00.000", scale="tai")
        dates = dict.fromkeys(("DATE-OBS", "DATE-BEG"), begin.isot)
        days = {key: float(begin.mjd) for key in ("MJD", "MJD-OBS", "MJD-BEG")}
        identity = {"OBSID": obs_id, "DAYOBS": day, "SEQNUM": int(sequence)}
        end = {"DATE-END": None, "MJD-END": None, "DATE": f"{begin.isot[:-3]}010"}
        yield path.stem, {**like[instrument], **identity, **dates, **days, **end}
