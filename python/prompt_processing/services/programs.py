"""Programs on this machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .versions import version_numbers

__all__ = ["Program", "answer_of", "has_statistics", "libraries_below", "postgresql_folders"]

_SYSTEM_POSTGRESQL = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


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


def postgresql_folders() -> Iterator[Path]:
    """Yield folders that may have PostgreSQL's programs, the newest version first."""
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    for pattern in _SYSTEM_POSTGRESQL:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), key=lambda path: version_numbers(str(path)))[
            ::-1
        ]


def has_statistics(folder: Path) -> bool:
    """Return whether the PostgreSQL of a folder of programs has ``pg_stat_statements``."""
    # Part of contrib, which some systems package separately.
    return any((folder.parent / "lib").glob("**/pg_stat_statements.*"))


def libraries_below(root: Path) -> str:
    """Return the folders of shared libraries of an unpacked system, as ``LD_LIBRARY_PATH`` takes them."""
    folders = [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]
    # Some packages keep theirs one level below, where only their own paths would find them.
    nested = [path.parent for folder in folders for path in folder.glob("*/*.so*")]
    return ":".join(dict.fromkeys(str(folder) for folder in (*sorted(folders), *sorted(nested))))
