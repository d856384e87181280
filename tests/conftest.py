"""Fixtures that every test may use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prompt_processing.butler.types import use_butler_types

# Pipelines name their tasks by module, so those of tests need one that can be imported.
sys.path.insert(0, str(Path(__file__).parent / "support"))

pytest_plugins = ["real_services"]


@pytest.fixture(autouse=True, scope="session")
def _butler_types() -> None:
    use_butler_types()
