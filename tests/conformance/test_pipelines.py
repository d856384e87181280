"""Pipelines that sites' selections name exist, for each of the observatory's cameras."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompt_processing.butler.pipelines.files import read_pipeline
from prompt_processing.settings.pipelines import parse_selection

SELECTED = {
    "HSC": ["ApPipe", "Isr", "Preprocessing", "SingleFrame"],
    "LATISS": [
        "ApPipe",
        "ApPipe-noAlerts",
        "ApPipe-noForced",
        "Isr",
        "Isr-cal",
        "Preprocessing",
        "Preprocessing-noForced",
        "SingleFrame",
    ],
    "LSSTCam": [
        "ApPipe",
        "ApPipe-noAlerts",
        "ApPipe-noForced",
        "Isr",
        "Isr-cal",
        "Preprocessing",
        "Preprocessing-noForced",
        "SingleFrame",
        "dev/ApPipe",
        "dev/Isr",
        "dev/Isr-cal",
        "dev/Preprocessing",
        "dev/SingleFrame",
    ],
}
"""Files of the reference service, 2026-03."""


@pytest.mark.parametrize("camera", SELECTED)
def test_selected_pipelines_exist_and_have_the_subset_that_is_run(camera: str) -> None:
    for stem in SELECTED[camera]:
        text = f"[pipelines: ['${{PROMPT_PROCESSING_DIR}}/pipelines/{camera}/{stem}.yaml']]"
        (path,) = parse_selection(text).paths
        assert Path(path).is_file(), path
        subset = "preload" if "Preprocessing" in stem else "prompt"
        assert read_pipeline(path).subsets[subset], path
