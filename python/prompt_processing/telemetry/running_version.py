"""The running version, for the log at the start, for ``/version`` and for ``prompt inspect``."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from typing import Any

_MIDDLEWARE = "lsst-daf-butler"
_WEEKLY = re.compile(r"\d+\.(\d{4})\.(\d{1,2})00")
_SCHEMA_VERSION = re.compile(r'^version:\s*(?:\n\s+current:\s*)?"?([\w.]+)', re.MULTILINE)


@dataclass(frozen=True)
class RunningVersion:
    """Versions of the software in this process.

    Attributes
    ----------
    prompt_processing : `str`
        Version of this project.
    commit : `str` or `None`
        Commit of this project, if the container sets it.
    deployment : `str` or `None`
        Id of software, pipelines and configuration, which is part of the names of output runs; `None` before
        pipelines are read, and in processes that do not read them.
    middleware : `str`
        Weekly release of the LSST middleware, or its version if that is not a weekly.
    schemas : `dict` [`str`, `str`]
        Newest supported versions of the schemas ``alert`` and ``apdb``.
    python : `str`
        Version of the interpreter.
    """

    prompt_processing: str
    commit: str | None
    deployment: str | None
    middleware: str
    schemas: dict[str, str]
    python: str

    @classmethod
    def of_this_process(cls, deployment: str | None = None) -> RunningVersion:
        """Read the versions from the installation.

        Parameters
        ----------
        deployment : `str`, optional
            Id of the deployment, if known.
        """
        return cls(
            prompt_processing=metadata.version("prompt-processing"),
            commit=os.environ.get("PROMPT_PROCESSING_COMMIT") or None,
            deployment=deployment,
            middleware=_label(metadata.version(_MIDDLEWARE)),
            schemas={"alert": _alert_schema(), "apdb": _apdb_schema()},
            python=platform.python_version(),
        )

    @property
    def label(self) -> str:
        """Version, commit and deployment in a few words."""
        commit = f" ({self.commit[:10]})" if self.commit else ""
        return f"{self.prompt_processing}{commit} {self.deployment or ''}".strip()

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``/version``, which also lists all installed distributions."""
        # Not earlier, because it reads two hundred files.
        installed = {one.name.lower(): one.version for one in metadata.distributions()}
        return {**asdict(self), "distributions": dict(sorted(installed.items()))}

    def __str__(self) -> str:
        schemas = ", ".join(f"{name} schema {version}" for name, version in self.schemas.items())
        commit = f" ({self.commit})" if self.commit else ""
        return (
            f"prompt-processing {self.prompt_processing}{commit}, "
            f"deployment {self.deployment or 'not known'}, middleware {self.middleware}, {schemas}, "
            f"Python {self.python}"
        )


def _label(version: str) -> str:
    match = _WEEKLY.fullmatch(version)
    return f"w_{match[1]}_{int(match[2]):02d}" if match else version


def _alert_schema() -> str:
    return resources.files("lsst.alert.packet").joinpath("schema", "latest.txt").read_text("utf-8").strip()


def _apdb_schema() -> str:
    # The first lines only; parsing the whole file would take longer than the rest of the start.
    with resources.files("lsst.sdm.schemas").joinpath("apdb.yaml").open(encoding="utf-8") as file:
        match = _SCHEMA_VERSION.search(file.read(4096))
    return match[1] if match else "unknown"
