"""Packages of conda, where micromamba and a channel exist.

An environment with packages of conda is a prefix that micromamba fills, Python included; uv adds PyPI's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["CondaError", "create", "explicit_list", "installed", "is_prefix", "name_and_version"]

_EXPLICIT = re.compile(r"^\S+/(?P<name>[^/\s]+)-(?P<version>[^-/\s]+)-[^-/\s]+\.(?:conda|tar\.bz2)(?:#\S*)?$")


class CondaError(Exception):
    """Packages of conda cannot be installed; the message says why."""


def micromamba() -> str:
    """Return the program.

    Raises
    ------
    CondaError
        Raised if it is missing.
    """
    found = shutil.which("micromamba")
    if found is None:
        raise CondaError(
            "Conda's packages need micromamba, which is missing here: install it, or name packages of PyPI, "
            "in a .pip file or under `pip:`."
        )
    return found


def create(prefix: Path, channels: Sequence[str], packages: Sequence[str]) -> None:
    """Make a prefix of packages, resolved together; its Python is like that of other environments.

    Parameters
    ----------
    prefix
        The folder, which is replaced.
    channels
        Names, addresses or folders of channels, the preferred one first.
    packages
        What to install, as conda writes it.

    Raises
    ------
    CondaError
        Raised if there is no channel, or micromamba is missing or fails.
    """
    program = micromamba()
    if not channels:
        raise CondaError(
            "Conda's packages need a channel: name one under `channels:` in a .yml file, "
            "or in CONDA_CHANNELS."
        )
    named = any(re.match(r"(?:\S+::)?python(?![\w.-])", one) for one in packages)
    wanted = [*packages] if named else [f"python={_python_version()}", *packages]
    options = [word for channel in channels for word in ("--channel", channel)]
    _create(program, prefix, "--override-channels", *options, *wanted)


def create_from(prefix: Path, explicit: Path) -> None:
    """Make a prefix of exactly the files in a list that `explicit_list` returned."""
    _create(micromamba(), prefix, "--file", str(explicit))


def _create(program: str, prefix: Path, *arguments: str) -> None:
    shutil.rmtree(prefix, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [program, "create", "--yes", "--quiet", "--no-rc", "--prefix", str(prefix), *arguments],
            check=False,
            capture_output=True,
            text=True,
            # Nothing of the cache stays in a layer of the image.
            env={"MAMBA_ROOT_PREFIX": cache, **os.environ},
        )
    if done.returncode:
        raise CondaError(f"micromamba create failed.\n{done.stderr.strip() or done.stdout.strip()}")


def _python_version() -> str:
    interpreter = os.environ.get("ENVIRONMENT_PYTHON", sys.executable)
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run(
        [interpreter, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def is_prefix(folder: Path) -> bool:
    """Return whether micromamba has filled a folder."""
    return (folder / "conda-meta").is_dir()


def installed(prefix: Path) -> list[dict[str, Any]]:
    """Return conda's records of the packages of a prefix, by name; none if it is an environment of uv."""
    records = (
        json.loads(path.read_text(encoding="utf-8")) for path in (prefix / "conda-meta").glob("*.json")
    )
    return sorted(records, key=lambda one: str(one["name"]))


def explicit_list(prefix: Path) -> str:
    """Return the files of a prefix with their hashes, as conda's tools install them without resolving."""
    lines = [f"{one['url']}#{one['md5']}\n" for one in installed(prefix)]
    return "".join(["@EXPLICIT\n", *lines])


def name_and_version(line: str) -> tuple[str, str] | None:
    """Return the package of a line of an explicit list; `None` if it is another line."""
    match = _EXPLICIT.match(line.strip())
    return (match["name"], match["version"]) if match else None
