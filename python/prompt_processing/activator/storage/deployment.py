"""Identity of what is deployed: software, pipelines and configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from lsst.pipe.base import Pipeline

import prompt_processing

_DIGITS = 7


def deployment_id(pipelines: Iterable[str], apdb_config: str) -> str:
    """Name the software and configuration that outputs come from.

    Parameters
    ----------
    pipelines : iterable of `str`
        Pipeline files that visits may be given, environment variables expanded.
    apdb_config : `str`
        URI of the APDB's configuration.

    Returns
    -------
    deployment : `str`
        ``pipelines-<7 hex>-config-<7 hex>``. Workers of one deployment agree
        on it without talking to each other, so it depends on nothing but
        installed distributions, this package's code, the pipelines as
        expanded from their imports, and ``apdb_config``.
    """
    software = hashlib.sha256()
    for distribution in sorted({f"{d.name}=={d.version}" for d in metadata.distributions()}):
        software.update(distribution.encode() + b"\n")
    package = Path(prompt_processing.__path__[0])
    for source in sorted(package.rglob("*.py")):
        software.update(str(source.relative_to(package)).encode() + b"\n" + source.read_bytes())
    for path in sorted(set(pipelines)):
        software.update(f"{Path(path).stem}\n{Pipeline.from_uri(path)}".encode())
    configuration = hashlib.sha256(apdb_config.encode())
    return f"pipelines-{software.hexdigest()[:_DIGITS]}-config-{configuration.hexdigest()[:_DIGITS]}"
