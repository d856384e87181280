"""Exposure records equal those of the observatory's translators: a registry takes only one for each id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from prompt_processing.instruments import exposure_dimension_record_fields, translate

CASES: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "exposure_records.yaml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", CASES)
def test_record_of_a_real_header_is_the_reference_translators(name: str) -> None:
    observation = translate(CASES[name]["header"])
    fields = exposure_dimension_record_fields(observation)
    del fields["timespan"]
    found = {**fields, "begin": observation.begin.unix_tai, "end": observation.end.unix_tai}
    for key, expected in CASES[name]["record"].items():
        tolerance = 1e-6 if key in ("begin", "end") else 1e-10
        assert found[key] == (
            pytest.approx(expected, abs=tolerance) if isinstance(expected, float) else expected
        ), key


def test_controllers_that_counted_for_themselves_have_ids_of_their_own() -> None:
    header = CASES["lsstCam-MC_C_20190319_000001_R22_S21"]["header"]
    assert translate(header).exposure_id == 3019031900001
    assert translate({**header, "CONTRLLR": "O"}).exposure_id == 2019031900001


@pytest.mark.parametrize("prefix", ["", "HIERARCH "])
def test_corrected_header_is_not_corrected_again(prefix: str) -> None:
    header = CASES["lsstCam-MC_O_20250415_000228_R10_S20"]["header"]
    found = translate({**header, f"{prefix}ASTRO METADATA FIX MODIFIED": True})
    assert found.rotation == pytest.approx(header["ROTPA"])
    assert found.rotation != pytest.approx(translate(header).rotation)


@pytest.mark.parametrize(
    ("day", "sequence", "program", "expected"),
    [("20250415", 228, "BLOCK-417", "BLOCK-T417"), ("20250414", 228, "BLOCK-417", "BLOCK-417")],
)
def test_correction_holds_on_its_days_only(day: str, sequence: int, program: str, expected: str) -> None:
    header = CASES["lsstCam-MC_O_20250415_000228_R10_S20"]["header"]
    found = translate({**header, "DAYOBS": day, "SEQNUM": sequence, "PROGRAM": program})
    assert found.science_program == expected
