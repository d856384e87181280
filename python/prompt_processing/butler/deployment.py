"""Identity of a deployment: software, pipelines and configuration."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import prompt_processing
from prompt_processing.domain.yaml_text import parse_yaml

from .pipelines.files import read_pipeline

_DIGITS = 7
_NAME = re.compile(r"^Name: *(.*?)\s*$", re.MULTILINE)
_VERSION = re.compile(r"^Version: *(.*?)\s*$", re.MULTILINE)


def deployment_id(
    pipelines: Iterable[str], apdb_config: str, dataset_type_names: Mapping[str, str] | None = None
) -> str:
    """Return the id of the software and configuration that write outputs.

    Parameters
    ----------
    pipelines : iterable of `str`
        Pipeline files that visits may use, with environment variables expanded.
    apdb_config : `str`
        URI of the APDB's configuration.
    dataset_type_names : mapping, optional
        Configured names of dataset types, by their names in the pipelines.

    Returns
    -------
    deployment : `str`
        ``pipelines-<7 hex>-config-<7 hex>``. All workers of a deployment
        compute the same id. It depends only on the installed distributions,
        this package's code, the pipelines with their imports expanded,
        ``apdb_config`` and ``dataset_type_names``.
    """
    software = hashlib.sha256()
    # Not sys.path: after an import of setuptools it also holds the private copies of packages there.
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    for distribution in sorted({_named(one) for one in metadata.distributions(path=folders)}):
        software.update(distribution.encode() + b"\n")
    for name, content in _sources(prompt_processing.__path__[0]):
        software.update(name.encode() + b"\n" + content)
    for path in sorted(set(pipelines)):
        software.update(f"{Path(path).stem}\n{_expanded(path)}".encode())
    configuration = hashlib.sha256(apdb_config.encode())
    if dataset_type_names:
        configuration.update(json.dumps(dict(dataset_type_names), sort_keys=True).encode())
    return f"pipelines-{software.hexdigest()[:_DIGITS]}-config-{configuration.hexdigest()[:_DIGITS]}"


def _sources(package: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each module of a package, in an order that depends only on their names."""
    # Path objects would take longer than reading the files, and a worker waits for this at its start.
    for folder, folders, files in os.walk(package):
        folders.sort()
        for name in sorted(files):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                with open(path, "rb") as source:
                    yield path.removeprefix(package), source.read()


def _named(distribution: metadata.Distribution) -> str:
    """Return name and version of a distribution."""
    head = (distribution.read_text("METADATA") or "").partition("\n\n")[0]
    name, version = _NAME.search(head), _VERSION.search(head)
    if name is None or version is None:
        # Of an older kind.
        return f"{distribution.name}=={distribution.version}"
    # `importlib.metadata` parses the whole text for each of the two, which takes half a second for all.
    return f"{name[1]}=={version[1]}"


def _expanded(path: str) -> str:
    try:
        pipeline = parse_yaml(str(read_pipeline(path)))
    except FileNotFoundError:
        # The file is missing in all workers of the deployment, and nothing runs from it.
        return "missing"
    # The middleware keeps the tasks of a subset in a set, whose order differs between processes.
    for subset in pipeline.get("subsets", {}).values():
        subset["subset"].sort()
    return json.dumps(pipeline, default=str)
