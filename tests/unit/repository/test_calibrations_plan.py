"""The steps of a build of calibrations are those that were asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from prompt_processing.instruments import load_camera
from prompt_processing.repository.calibrations.plan import select_exposures, steps_of

CAMERA = load_camera("LATISS")


def steps_left_out(kinds: tuple[str, ...], crosstalk: bool) -> dict[str, str]:
    """Return the steps of a repository with these exposures, and why each is left out."""
    begin = SimpleNamespace(begin=0)
    records = [
        SimpleNamespace(observation_type=kind, day_obs=20260101, id=number, timespan=begin)
        for number, kind in enumerate(kinds)
    ]
    butler: Any = SimpleNamespace(query_dimension_records=lambda *_, **__: records)
    selection = select_exposures(butler, CAMERA.name, science=crosstalk)
    return {step.label: step.skipped(selection, 3) for step in steps_of(CAMERA, selection)}


def test_crosstalk_is_no_step_unless_it_is_asked_for() -> None:
    kinds = ("bias", "dark", "flat") * 3
    without = steps_left_out((*kinds, "science"), crosstalk=False)
    asked = steps_left_out((*kinds, "science"), crosstalk=True)
    assert "measureCrosstalk" not in without
    assert asked == {**without, "measureCrosstalk": ""}


def test_crosstalk_that_is_asked_for_without_science_exposures_is_reported() -> None:
    steps = steps_left_out(("bias", "dark", "flat") * 3, crosstalk=True)
    assert steps["measureCrosstalk"] == "0 science exposures; at least 1 is needed"
