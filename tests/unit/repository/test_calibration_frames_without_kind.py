"""Raws whose headers do not say what they are: messages lead to the option that does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.repository.calibrations.plan import select_exposures


@pytest.mark.parametrize(
    ("kinds", "told"), [(("science", "unknown"), True), ((), False)], ids=["other", "none"]
)
def test_a_repository_without_calibration_frames_points_to_the_kind(
    kinds: tuple[str, ...], told: bool
) -> None:
    records = [
        SimpleNamespace(observation_type=kind, day_obs=20260101, id=number)
        for number, kind in enumerate(kinds)
    ]
    butler: Any = SimpleNamespace(query_dimension_records=lambda *_, **__: records)
    with pytest.raises(RepositoryProblemError) as raised:
        select_exposures(butler, "mycam")
    said = str(raised.value)
    assert "prompt repo import-raws" in said
    assert ("--type bias, dark or flat" in said and "it has science, unknown exposures" in said) is told
