"""A worker's process, its log and its exit."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from fault_nursery import ForkedProcess


class RunningWorker:
    """A worker's process and its log."""

    def __init__(
        self, process: subprocess.Popen[bytes] | ForkedProcess, log: Path, port: int = 0, health: int = 0
    ) -> None:
        self.process, self.log, self.port, self.health_port = process, log, port, health

    def records(self) -> list[dict[str, Any]]:
        """The log's lines."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            # A killed process may leave half a line.
            with suppress(ValueError):
                if isinstance(record := json.loads(line), dict):
                    found.append(record)
        return found

    def outcomes(self) -> list[dict[str, Any]]:
        """Log records that contain an outcome."""
        return [record for record in self.records() if "outcome" in record]

    def says(self, text: str) -> bool:
        """Return whether the log contains a text."""
        return text in self.log.read_text(errors="replace")

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def family(self) -> list[psutil.Process]:
        """The process and its descendants."""
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """Kill all processes at once, as when a node loses power."""
        family = self.family()
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait(20)
        psutil.wait_procs(family, timeout=20)

    def terminate(self, seconds: float = 40.0) -> int:
        """Send SIGTERM as Kubernetes does, and wait for the exit."""
        if self.runs:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)
