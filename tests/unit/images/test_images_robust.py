"""The constant of robust scatters."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scipy.stats import norm

import prompt_processing
from prompt_processing.images import robust

PACKAGE = Path(prompt_processing.__path__[0])


def test_constant_is_that_of_a_normal_distribution() -> None:
    assert pytest.approx(1 / norm.ppf(0.75), abs=1e-4) == robust.MAD_TO_SIGMA


def test_constant_is_written_down_once() -> None:
    # 1.4826, and its inverse; 0.7413 and 1.349 do the same for the interquartile range.
    spelled = re.compile(r"\b(1\.48[23]\d*|0?\.674[45]\d*|0?\.741[23]?|1\.349)\b")
    found = [path.name for path in PACKAGE.rglob("*.py") if spelled.search(path.read_text(encoding="utf-8"))]
    assert found == ["robust.py"]
