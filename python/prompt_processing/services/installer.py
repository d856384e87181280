"""How a program is found on this machine, or installed into a private folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from .installation import (
    MissingSoftwareError,
    debian_packages,
    go_program,
    locked,
    maven_libraries,
)
from .programs import Program, answer_of, libraries_below
from .versions import Versions, version_numbers

__all__ = ["Installer", "default_folder"]


def default_folder() -> Path:
    """Return the servers' folder: ``PROMPT_PROCESSING_SERVICES``, or the project's ``.services``."""
    named = os.environ.get("PROMPT_PROCESSING_SERVICES")
    if named:
        return Path(named).resolve()
    project = Path(__file__).resolve().parents[3]
    # An installed package has no project around this file.
    base = project if (project / "pyproject.toml").is_file() else Path.home() / ".cache" / "prompt-processing"
    return base / ".services"


class Installer:
    """Find programs, or install them.

    Parameters
    ----------
    folder
        Folder for installed programs; `default_folder` by default.
    versions
        Versions to look for.
    """

    def __init__(self, folder: Path | None = None, versions: Versions | None = None) -> None:
        self.folder = folder or default_folder()
        self.versions = versions or Versions.load()

    def java(self) -> Program:
        """Return a Java program that can run the servers.

        Raises
        ------
        MissingSoftwareError
            Raised if no suitable Java is found.
        """
        home = os.environ.get("JAVA_HOME")
        wanted = self.versions.apicurio.java
        for candidate in (str(Path(home, "bin", "java")) if home else None, shutil.which("java")):
            if candidate and version_numbers(answer_of(candidate, "-version"))[:1] >= (wanted,):
                return Program(Path(candidate))
        raise MissingSoftwareError(
            f"No Java of version {wanted} or newer: install one (Debian: apt-get install "
            f"openjdk-{wanted}-jdk-headless; macOS: brew install openjdk@{wanted}) or set JAVA_HOME."
        )

    def _go_program(self, name: str, package: str, version: str) -> Program:
        if found := shutil.which(name):
            return Program(Path(found))
        return self._built(name, package, version)

    def _built(self, name: str, package: str, version: str) -> Program:
        target = self.folder / f"{name}-{version}" / name
        with locked(self.folder):
            if not target.is_file():
                go_program(package, version, target)
        return Program(target)

    def _java_libraries(self, name: str, *artifacts: str) -> Path:
        """Return a folder of jars, with all that they need."""

        def fill(target: Path) -> None:
            self.java()
            maven_libraries(artifacts, target, self.folder, self.versions.maven_dependency_plugin)

        return self._filled(name, fill)

    def _filled(self, name: str, fill: Callable[[Path], None]) -> Path:
        """Return a folder below this one, filled by one process when it does not exist."""
        target = self.folder / name
        with locked(self.folder):
            if not target.is_dir():
                fill(target)
        return target

    def _debian(self, package: str, pattern: str) -> Program:
        target = self._filled(f"debian-{package}", lambda folder: debian_packages(package, folder))
        programs = sorted(target.glob(pattern))
        if not programs:
            raise MissingSoftwareError(
                f"The package {package} has no {pattern}: remove {target} and try again."
            )
        return Program(programs[-1], {"LD_LIBRARY_PATH": libraries_below(target)})
