"""Programs on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Program", "answer_of"]


@dataclass(frozen=True)
class Program:
    """Program that can be started.

    Attributes
    ----------
    path
        The executable.
    environment
        Environment variables that the program needs.
    """

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def sibling(self, name: str) -> str:
        """Return the path of another program in the same folder."""
        return str(self.path.with_name(name))


def answer_of(program: str, *options: str) -> str:
    """Return what a program prints, such as its version; empty if it fails."""
    try:
        done = subprocess.run([program, *options], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr if done.returncode == 0 else ""
