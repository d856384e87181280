"""Install servers into a private folder, with the ordinary clients of their registries and without root."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "MissingSoftwareError",
    "debian_packages",
    "go_module_files",
    "go_program",
    "go_program_from_sources",
    "locked",
    "maven_file",
    "maven_libraries",
    "npm_program",
]

_log = logging.getLogger("lsst.services.installation")

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>libraries</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
{dependencies}
  </dependencies>
</project>
"""


class MissingSoftwareError(RuntimeError):
    """A server is not on the PATH and cannot be installed; the message says what to install."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Prevent other processes from installing into the same folder at the same time.

    Parameters
    ----------
    folder
        Created if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def maven_libraries(artifacts: Sequence[str], target: Path, cache: Path, plugin: str) -> None:
    """Fetch Java libraries with their dependencies.

    Parameters
    ----------
    artifacts
        Artifacts as ``group:artifact:version``.
    target
        Folder for the jars, created atomically.
    cache
        Folder for Maven's local repository.
    plugin
        Version of Maven's dependency plugin.

    Raises
    ------
    MissingSoftwareError
        Raised if Maven is missing or fails.
    """
    work = _fresh(target)
    lines = (
        "    <dependency><groupId>{}</groupId><artifactId>{}</artifactId>"
        "<version>{}</version></dependency>".format(*artifact.split(":"))
        for artifact in artifacts
    )
    (work / "pom.xml").write_text(_POM.format(dependencies="\n".join(lines)))
    _maven(f"{plugin}:copy-dependencies", {"outputDirectory": str(work / "jars")}, work, cache, artifacts)
    (work / "jars").rename(target)
    shutil.rmtree(work)


def maven_file(artifact: str, target: Path, cache: Path, plugin: str) -> None:
    """Fetch and unpack one zip file.

    Parameters
    ----------
    artifact
        ``group:artifact:version:zip:classifier``.
    target, cache, plugin
        As for `maven_libraries`.

    Raises
    ------
    MissingSoftwareError
        Raised if Maven is missing or fails.
    """
    work = _fresh(target)
    _maven(
        f"{plugin}:copy",
        {"artifact": artifact, "outputDirectory": str(work / "zip")},
        work,
        cache,
        [artifact],
    )
    for archive in (work / "zip").glob("*.zip"):
        with zipfile.ZipFile(archive) as content:
            content.extractall(work / "content")
    (work / "content").rename(target)
    shutil.rmtree(work)


def go_program(package: str, version: str, target: Path) -> None:
    """Build a Go program.

    Parameters
    ----------
    package, version
        Package and version as ``go install`` takes them.
    target
        The executable, created atomically.

    Raises
    ------
    MissingSoftwareError
        Raised if Go is missing or fails.
    """
    name = f"{package}@{version}"
    with _building(name, target) as (go, work):
        _run([go, "install", name], name, {"GOBIN": str(work)})


def go_program_from_sources(sources: Path, target: Path) -> None:
    """Build a Go program of this project, with the modules that its ``go.sum`` pins.

    Parameters
    ----------
    sources
        Folder of the program's ``go.mod``.
    target
        The executable, created atomically.

    Raises
    ------
    MissingSoftwareError
        Raised if Go is missing or fails.
    """
    with _building(str(sources), target) as (go, work):
        _run([go, "build", "-mod=readonly", "-o", str(work / target.name), "."], target.name, folder=sources)


def go_module_files(wanted: Sequence[tuple[str, str, str]], target: Path) -> None:
    """Fetch files of Go modules.

    Parameters
    ----------
    wanted
        Module and version as ``go get`` takes them, and a pattern of files relative to the module.
    target
        Folder for the copies, created atomically.

    Raises
    ------
    MissingSoftwareError
        Raised if Go is missing or fails, or if a module has no such files.
    """
    go = _go(target.name)
    work = _fresh(target)
    for module, version, pattern in wanted:
        name = f"{module}@{version}"
        answer = _run([go, "mod", "download", "-json", name], name, folder=work)
        files = sorted(Path(json.loads(answer)["Dir"]).glob(pattern))
        if not files:
            raise MissingSoftwareError(f"{name} has no {pattern}.")
        for file in files:
            shutil.copyfile(file, work / file.name)
    work.rename(target)


def npm_program(package: str, version: str, target: Path) -> None:
    """Install a program of the npm registry; nothing of it is executed meanwhile.

    Parameters
    ----------
    package, version
        Package and its exact version.
    target
        Folder with ``node_modules``, created atomically.

    Raises
    ------
    MissingSoftwareError
        Raised if npm is missing or fails.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise MissingSoftwareError(
            f"{package} is not on the PATH, and neither are node and npm, which install it: "
            "install Node.js 20 or newer (Debian: apt-get install nodejs npm; macOS: brew install node)."
        )
    work = _fresh(target)
    name = f"{package}@{version}"
    _log.info("Fetching %s ...", name)
    options = ["--prefix", str(work), "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    _run([npm, "install", *options, name], name, folder=work)
    work.rename(target)


def debian_packages(package: str, target: Path) -> None:
    """Unpack a Debian or Ubuntu package and its missing dependencies, without installing them.

    Parameters
    ----------
    package
        Name of the package.
    target
        Root folder of its files, created atomically.

    Raises
    ------
    MissingSoftwareError
        Raised if apt is missing or does not have the package.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise MissingSoftwareError(f"Install {package} with this system's package manager.")
    work = _fresh(target)
    _log.info("Fetching the package %s ...", package)
    plan = _run(["apt-get", "-s", "install", "--no-install-recommends", package], package)
    names = re.findall(r"^Inst (\S+)", plan, flags=re.MULTILINE)
    _run(["apt-get", "download", *(names or [package])], package, folder=work)
    for archive in work.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(archive), str(work / "root")], package)
    (work / "root").rename(target)
    shutil.rmtree(work)


def _go(what: str) -> str:
    go = shutil.which("go")
    if go is None:
        raise MissingSoftwareError(
            f"{what} is not on the PATH, and neither is Go, which builds it: install one of them (https://go.dev/dl)."
        )
    return go


@contextmanager
def _building(what: str, target: Path) -> Iterator[tuple[str, Path]]:
    """Yield Go and a folder; the program built there under the target's name is moved to the target."""
    go = _go(target.name)
    work = _fresh(target)
    _log.info("Building %s (about two minutes) ...", what)
    yield go, work
    (work / target.name).rename(target)
    shutil.rmtree(work)


def _maven(
    goal: str, properties: Mapping[str, str], work: Path, cache: Path, artifacts: Sequence[str]
) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingSoftwareError(
            f"Maven, which fetches {artifacts[0]}, is not on the PATH: install it with JDK 17 or later "
            "(Debian: apt-get install maven openjdk-17-jdk-headless; macOS: brew install maven)."
        )
    _log.info("Fetching %s ...", ", ".join(artifacts))
    options = {"maven.repo.local": str(cache / "maven-repository"), **properties}
    command = [
        maven,
        "--quiet",
        "--batch-mode",
        "--strict-checksums",
        f"org.apache.maven.plugins:maven-dependency-plugin:{goal}",
        *(f"-D{name}={value}" for name, value in options.items()),
    ]
    _run(command, artifacts[0], folder=work)


def _fresh(target: Path) -> Path:
    """Create a folder beside the target, on the same file system, so that it can be renamed into place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    return work


def _run(
    command: Sequence[str],
    what: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {}), "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingSoftwareError(f"{what} could not be installed: {error}") from error
    if done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise MissingSoftwareError(
            f"{what} could not be installed: {' '.join(command[:3])} failed with {done.returncode}:\n{output}"
        )
    return done.stdout
