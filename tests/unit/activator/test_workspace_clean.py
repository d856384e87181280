"""Cleaning scans what a visit made, not what the process keeps."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from prompt_processing.activator.services.workspace import Workspace


@pytest.fixture
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def clean_a_visit(repositories: Mock, exposures: tuple[int, ...] = (1,)) -> None:
    visit = Mock(groupId="g", detector=94, instrument="LSSTCam")
    workspace = Workspace(repositories, Mock(), visit, Mock())
    workspace._exposures.update(exposures)
    workspace.clean()


def test_objects_of_the_first_visit_are_not_scanned_after_each_further_one(unfrozen: None) -> None:
    gc.unfreeze()
    repositories = Mock(visited=False)
    repositories.cache.evict.return_value = []
    clean_a_visit(repositories, exposures=())
    # The interpreter keeps a few hundred objects of its own there.
    before = gc.get_freeze_count()
    clean_a_visit(repositories)
    frozen = gc.get_freeze_count()
    assert frozen > before + 10_000
    # What a later visit leaves in cycles must be found by the next collection.
    later = [[] for _ in range(1000)]
    clean_a_visit(repositories)
    assert gc.get_freeze_count() <= frozen
    del later
