"""Databases of made nights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from night_messages import START

from prompt_processing.domain.outcome_message import OutcomeMessage
from prompt_processing.nights.reading import Nights
from prompt_processing.nights.store import NightStore

MakeNights = Callable[[Sequence[OutcomeMessage]], Nights]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "night.db"


@pytest.fixture
def store(database: Path) -> Iterator[NightStore]:
    with_tables = NightStore(database)
    yield with_tables
    with_tables.close()


@pytest.fixture
def nights(database: Path, store: NightStore) -> Iterator[Nights]:
    with Nights(database, now=lambda: START + 60) as opened:
        yield opened
