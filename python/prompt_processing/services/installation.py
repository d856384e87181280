"""Put servers into a folder of ours, through the ordinary clients of their registries and without root."""

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
    """A server is neither on the PATH nor could it be installed; the message says what to install."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from installing into the same folder at the same time.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def maven_libraries(artifacts: Sequence[str], target: Path, cache: Path, plugin: str) -> None:
    """Fetch Java libraries with everything they need.

    Parameters
    ----------
    artifacts : sequence of `str`
        ``group:artifact:version``.
    target : `~pathlib.Path`
        Folder for the jars; appears complete or not at all.
    cache : `~pathlib.Path`
        Maven's local repository is kept here.
    plugin : `str`
        Version of the dependency plugin.

    Raises
    ------
    MissingSoftwareError
        Raised if Maven is not there or fails.
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
    artifact : `str`
        ``group:artifact:version:zip:classifier``.
    target, cache, plugin
        As for `maven_libraries`.

    Raises
    ------
    MissingSoftwareError
        Raised if Maven is not there or fails.
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
    package, version : `str`
        What ``go install`` calls it.
    target : `~pathlib.Path`
        The executable; appears complete or not at all.

    Raises
    ------
    MissingSoftwareError
        Raised if Go is not there or fails.
    """
    name = f"{package}@{version}"
    with _building(name, target) as (go, work):
        _run([go, "install", name], name, {"GOBIN": str(work)})


def go_program_from_sources(sources: Path, target: Path) -> None:
    """Build a Go program of this project; its modules are those of its ``go.sum``.

    Parameters
    ----------
    sources : `~pathlib.Path`
        Folder of its ``go.mod``.
    target : `~pathlib.Path`
        The executable; appears complete or not at all.

    Raises
    ------
    MissingSoftwareError
        Raised if Go is not there or fails.
    """
    with _building(str(sources), target) as (go, work):
        _run([go, "build", "-mod=readonly", "-o", str(work / target.name), "."], target.name, folder=sources)


def go_module_files(wanted: Sequence[tuple[str, str, str]], target: Path) -> None:
    """Fetch files of Go modules.

    Parameters
    ----------
    wanted : sequence of `tuple` [`str`, `str`, `str`]
        Module and version as ``go get`` calls them, and a pattern of files relative to the module.
    target : `~pathlib.Path`
        Folder for copies of them; appears complete or not at all.

    Raises
    ------
    MissingSoftwareError
        Raised if Go is not there or fails, or a module has no such files.
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


def debian_packages(package: str, target: Path) -> None:
    """Unpack a Debian or Ubuntu package, and what it needs and the system lacks, without installing them.

    Parameters
    ----------
    package : `str`
        Its name.
    target : `~pathlib.Path`
        What becomes the root of its files; appears complete or not at all.

    Raises
    ------
    MissingSoftwareError
        Raised if there is no apt, or it does not have the package.
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
            f"{what} is not on the PATH and Go, to build it with, is neither: install one of them (https://go.dev/dl)."
        )
    return go


@contextmanager
def _building(what: str, target: Path) -> Iterator[tuple[str, Path]]:
    """Give Go and a folder; the program of the target's name that is in it afterwards becomes the target."""
    go = _go(target.name)
    work = _fresh(target)
    _log.info("Building %s (two minutes or so) ...", what)
    yield go, work
    (work / target.name).rename(target)
    shutil.rmtree(work)


def _maven(
    goal: str, properties: Mapping[str, str], work: Path, cache: Path, artifacts: Sequence[str]
) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingSoftwareError(
            f"Maven, which fetches {artifacts[0]}, is not on the PATH: install it with a JDK of at least 17 "
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
    """Make a folder beside the target, on the same file system, so that it can be renamed into place."""
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
