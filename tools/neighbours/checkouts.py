"""The neighbours' checkouts, and their programs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

RUNNERS = Path(__file__).parent / "runners"


class Neighbours:
    """Checkouts, and the interpreter that runs them."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self.python = folder.resolve(), python.absolute()

    def path(self, repository: str, *parts: str) -> Path:
        """Return a path in a checkout. A missing one fails the test: nothing is skipped."""
        found = self.folder.joinpath(repository, *parts)
        if not found.exists():
            pytest.fail(f"This needs a checkout of {repository}: {found} does not exist.", pytrace=False)
        return found

    def command(self, runner: str, *arguments: object) -> list[str]:
        return [str(self.python), str(RUNNERS / runner), *map(str, arguments)]

    def environment(self, *python_path: Path, **settings: str) -> dict[str, str]:
        """Return an environment without anything of ours."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        paths = os.pathsep.join(map(str, python_path))
        return {**kept, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **settings}

    def run(self, command: list[str], environment: dict[str, str]) -> Any:
        """Run a program to its end, and return its last line of JSON."""
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        return json.loads(ended.stdout.splitlines()[-1])

    @contextmanager
    def running(self, command: list[str], environment: dict[str, str], log: Path) -> Iterator[Running]:
        """Run a program until the end of the context."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            yield Running(process, log)
        finally:
            process.kill()
            process.wait(30)


class Running:
    """A program and its output."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[str], bool], seconds: float = 90.0) -> str:
        deadline = time.monotonic() + seconds
        while not condition(text := self.text()):
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{text[-4000:]}"
            assert time.monotonic() < deadline, f"not within {seconds:g} s:\n{text[-4000:]}"
            time.sleep(0.2)
        return text

    def visits(self, count: int) -> list[dict[str, Any]]:
        """Return the visits that `runners/parse_visits.py` has parsed."""

        def parsed(text: str) -> list[dict[str, Any]]:
            complete = text[: text.rfind("\n") + 1]
            return [json.loads(line) for line in complete.splitlines() if line.startswith("{")]

        return parsed(self.wait_for(lambda text: len(parsed(text)) >= count))
