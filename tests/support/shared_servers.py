"""Which processes of pytest-xdist run the files that start the same servers."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.scheduler.protocol import Scheduling

_PROCESSES = 2
"""Processes of each set of servers: each starts a Kafka of its own, and one alone would finish last."""

_FIXTURES = re.compile(
    r"\b(?:service_stack|kafka|schema_registry|postgresql|redis_server|object_store)\s*: [A-Z]"
)
"""Parameters of tests that request the servers of `real_services`."""


class SharedServers(LoadFileScheduling):
    """Keep the tests of a file together, and the files that need the same servers in two processes."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        root = Path(self.config.rootpath)
        for name, files in _files_with_servers(root).items():
            if file in files:
                return f"{name} {files.index(file) % _PROCESSES}"
        return file


@cache
def _files_with_servers(root: Path) -> dict[str, list[str]]:
    tests = root / "tests"
    found = {
        "faults": sorted((tests / "faults").glob("test_*.py")),
        "servers": sorted(
            path for path in (tests / "integration").glob("test_*.py") if _FIXTURES.search(path.read_text())
        ),
    }
    return {name: [path.relative_to(root).as_posix() for path in paths] for name, paths in found.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Choose the scheduler where files are to stay together."""
    return SharedServers(config, log) if config.getvalue("dist") == "loadfile" else None
