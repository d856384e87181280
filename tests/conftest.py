"""Fixtures that every test may use, and which tests may run beside each other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prompt_processing.butler.types import use_butler_types

# Pipelines name their tasks by module, so those of tests need one that can be imported.
sys.path.insert(0, str(Path(__file__).parent / "support"))

pytest_plugins = ["real_services"]

# Before any test module is imported: the middleware reads this when it is loaded, and most unit tests never
# load it.
use_butler_types()


@pytest.hookimpl(tryfirst=True)  # Before pytest-xdist reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file together, for pytest-xdist: they share a simulated night or a repository.

    Each of its processes starts its own servers, which takes less time than waiting for those of another one.
    The long files come first, so that the processes finish together.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: "unit" in item.path.parts)
