"""The embedded broker in a separate process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Self

import psutil


class BrokerProcess:
    """A running broker; a context manager that ends it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._log = folder / "broker.log"
        self._messages = folder / "messages"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "prompt_processing.embedded_broker",
                    f"--folder={self._messages}",
                    *arguments,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        assert line.startswith("ready "), self.log
        self.address = line.removeprefix("ready ").strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def log(self) -> str:
        """Log of the broker."""
        return self._log.read_text()

    @property
    def memory_bytes(self) -> int:
        """Current memory of the broker."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    @property
    def stored_bytes(self) -> int:
        """Total size of its message files."""
        return sum(path.stat().st_size for path in self._messages.rglob("*.log"))

    @property
    def files(self) -> list[Path]:
        """Files in its folder."""
        return list(self._messages.rglob("*"))

    def close(self) -> int:
        """Close its input and wait for its exit; return the exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            return self._process.wait(20)
        finally:
            self._process.kill()
            self._process.stdout.close()
