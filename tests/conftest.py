"""Fixtures that every test may use."""

from __future__ import annotations

import pytest

from prompt_processing.images import use_butler_types


@pytest.fixture(autouse=True, scope="session")
def _butler_types() -> None:
    use_butler_types()
