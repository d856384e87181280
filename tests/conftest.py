"""Fixtures that every test may use, and which tests may run beside each other."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prompt_processing.butler.types import use_butler_types

# Idle threads of OpenBLAS spin; beside other tests they take more processor time than the work itself. The
# processes that tests start take these over.
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

# The many objects of astropy, pydantic and the middleware live as long as their process: at the interpreter's
# threshold, a tenth of the processor time went into looking for garbage among them.
gc.set_threshold(50_000, 30, 30)

# Pipelines name their tasks by module, so those of tests need one that can be imported.
sys.path.insert(0, str(Path(__file__).parent / "support"))

pytest_plugins = ["file_costs", "real_services", "shared_servers"]

# Before any test module is imported: the middleware reads this when it is loaded, and most unit tests never
# load it.
use_butler_types()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, so that the processes of pytest-xdist finish together.

    With ``--dist loadfile`` the tests of a file share a simulated night, a repository or servers.
    """
    items.sort(key=lambda item: "unit" in item.path.parts)


def pytest_collection_finish() -> None:
    """Keep what the collection made out of garbage collections: thousands of tests, and all modules."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what a command does to the log of its process, in which other tests look for messages."""
    root = logging.getLogger()
    level, handlers = root.level, [(handler, handler.level) for handler in root.handlers]
    yield
    root.setLevel(level)
    for handler in set(root.handlers) - {one for one, _ in handlers}:
        root.removeHandler(handler)
    for handler, its_level in handlers:
        handler.setLevel(its_level)
