"""The worker that the fan-out talks to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fan_out_fakes import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running
