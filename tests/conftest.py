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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together, for pytest-xdist, the tests that share something expensive.

    Everything that needs real servers runs in one process, so that there is one set of them; other tests stay
    with those of their file, whose fixtures they share. The servers' tests come first: they take longest.
    """
    servers = []
    others = []
    for item in items:
        needs_servers = item.get_closest_marker("services") is not None
        item.add_marker(pytest.mark.xdist_group("services" if needs_servers else item.path.stem))
        (servers if needs_servers else others).append(item)
    items[:] = servers + others
