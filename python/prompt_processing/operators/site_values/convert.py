"""Convert values files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from prompt_processing.domain.yaml_text import parse_yaml

from .rules import UNKNOWN, Conversion, ValuesError, changed, merge_values
from .services import convert_fan_out, convert_redis, convert_writer
from .worker import convert_worker

__all__ = ["APPLICATIONS", "Converted", "application_of", "convert_files"]


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, as people do."""


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


@dataclass(frozen=True)
class _Application:
    chart: str
    """Ours, under whose name an application of ours has its values."""
    convert: Callable[[Mapping[str, Any]], Conversion]
    marks: tuple[str, ...]
    """Keys at the top that only this application has."""


_KINDS = {
    "prompt-keda": _Application("prompt-keda", convert_worker, ("prompt-keda", "instrument")),
    "next-visit-fan-out": _Application(
        "next-visit-fan-out", convert_fan_out, ("detectorConfig", "instruments", "knative")
    ),
    "butler-writer-service": _Application(
        "prompt-butler-writer", convert_writer, ("outputRepo", "outputDatasetListDirectory")
    ),
    "prompt-redis": _Application("prompt-redis", convert_redis, ("redis", "redis-stream-exporter")),
}

_OTHER_APPLICATIONS = {
    "publication": "prompt-pub has no counterpart here. Keep Phalanx's: it reads any Butler writer's events."
}
"""What to do with values of further applications, by a key that only they have."""

APPLICATIONS = tuple(_KINDS)
"""Applications whose values can be converted."""


@dataclass(frozen=True)
class Converted:
    """Converted files.

    Attributes
    ----------
    application
        One of `APPLICATIONS`.
    text
        YAML of one file of values, for the application of ours.
    remarks
        Sentences about values without a counterpart, by their path.
    """

    application: str
    text: str
    remarks: Mapping[str, str]


def convert_files(files: Sequence[Path], application: str | None = None) -> Converted:
    """Convert the files of one application in one environment.

    Parameters
    ----------
    files
        In Helm's order: later ones win.
    application
        One of `APPLICATIONS`; found from the files' keys if it is not given.

    Raises
    ------
    ValuesError
        If a file is not a mapping in YAML, or a value cannot be converted.
    """
    try:
        return _converted(files, application)
    except RecursionError as error:
        named = ", ".join(map(str, files))
        raise ValuesError(
            f"{named}: values are nested too deeply, or an anchor is part of itself."
        ) from error


def _converted(files: Sequence[Path], application: str | None) -> Converted:
    site: dict[str, Any] = {}
    for file in files:
        site = merge_values(site, _read(file))
    name = application or application_of(site)
    kind = _KINDS[name]
    # An application has a chart's values below the chart's name; the chart's own file has them at the top.
    beside: dict[str, Any] = {}
    if name == "prompt-keda" and name in site:
        # What all charts share, such as `global`, is Argo CD's and YAML's.
        beside = {key: value for key, value in site.items() if key not in (name, "global")}
        site = changed(name, site[name], dict)
    conversion = kind.convert(site)
    conversion.remarks |= {str(key): UNKNOWN for key in beside}
    head = f"# Converted from {', '.join(file.name for file in files)} of {name}.\n"
    text = head + yaml.dump({kind.chart: conversion.values}, Dumper=_Dumper, sort_keys=False, width=110)
    return Converted(name, text, conversion.remarks)


def application_of(site: Mapping[str, Any]) -> str:
    """Return the application that values belong to.

    Parameters
    ----------
    site
        Merged values.

    Raises
    ------
    ValuesError
        If that is not clear.
    """
    found = [name for name, kind in _KINDS.items() if any(mark in site for mark in kind.marks)]
    for mark, advice in _OTHER_APPLICATIONS.items():
        if not found and mark in site:
            raise ValuesError(advice)
    if len(found) != 1:
        raise ValuesError(
            f"These values could be of {', '.join(found) or 'an application that has no counterpart here'}. "
            f"Name it with --application: {', '.join(APPLICATIONS)}."
        )
    return found[0]


def _read(file: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValuesError(f"{file}: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValuesError(f"{file}: not a mapping of values")
    return content
