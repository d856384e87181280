"""Generate the README and the JSON schema of a chart from its ``values.yaml``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .chart_values import ChartValue, read_values
from .helm import is_of_others

__all__ = ["chart_documents", "values_schema"]

_DEFINITIONS: dict[str, Any] = {
    "quantities": {
        "type": "object",
        "additionalProperties": {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[kMGT]|[KMGT]i)?$"},
                {"type": "number", "exclusiveMinimum": 0},
            ]
        },
    },
    "resources": {
        "type": "object",
        "additionalProperties": False,
        "required": ["requests", "limits"],
        "properties": {
            "requests": {"$ref": "#/$defs/quantities"},
            "limits": {"$ref": "#/$defs/quantities"},
        },
    },
    "range": {
        "type": "object",
        "additionalProperties": False,
        "required": ["min", "max"],
        "properties": {"min": {"type": "number"}, "max": {"type": "number"}},
    },
    # As KubeSpawner takes its `profile_list`.
    "overrides": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "image": {"type": "string", "pattern": "^[a-z0-9./-]+:[A-Za-z0-9._{}-]+$"},
            "cpu_guarantee": {"type": "number", "exclusiveMinimum": 0},
            "cpu_limit": {"type": "number", "exclusiveMinimum": 0},
            "mem_guarantee": {"type": "string", "pattern": "^[0-9]+[MGT]$"},
            "mem_limit": {"type": "string", "pattern": "^[0-9]+[MGT]$"},
        },
    },
    "profiles": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["display_name", "profile_options"],
            "properties": {
                "display_name": {"type": "string"},
                "description": {"type": "string"},
                "slug": {"type": "string", "pattern": "^[a-z0-9-]+$"},
                "default": {"type": "boolean"},
                "kubespawner_override": {"$ref": "#/$defs/overrides"},
                "profile_options": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["display_name", "choices"],
                        "properties": {
                            "display_name": {"type": "string"},
                            "choices": {
                                "type": "object",
                                "minProperties": 1,
                                "additionalProperties": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "required": ["display_name", "kubespawner_override"],
                                    "properties": {
                                        "display_name": {"type": "string"},
                                        "default": {"type": "boolean"},
                                        "kubespawner_override": {"$ref": "#/$defs/overrides"},
                                    },
                                },
                            },
                            "unlisted_choice": {
                                "type": "object",
                                "additionalProperties": False,
                                # Without a pattern people could start any image.
                                "required": ["enabled", "validation_regex", "kubespawner_override"],
                                "properties": {
                                    "enabled": {"type": "boolean"},
                                    "display_name": {"type": "string"},
                                    "display_name_in_choices": {"type": "string"},
                                    "validation_regex": {"type": "string", "pattern": r"^\^.+\$$"},
                                    "validation_message": {"type": "string"},
                                    "kubespawner_override": {"$ref": "#/$defs/overrides"},
                                },
                            },
                        },
                    },
                },
            },
        },
    },
    # As `prompt_processing.settings.pipelines` reads it.
    "selection": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["pipelines"],
            "properties": {
                "survey": {"type": "string"},
                "ra": {"$ref": "#/$defs/range"},
                "dec": {"$ref": "#/$defs/range"},
                "binary-map": {"type": "string"},
                "coord-type": {
                    "type": "string",
                    "pattern": "^([Dd][Ee][Tt][Ee][Cc][Tt][Oo][Rr]|[Bb][Oo][Rr][Ee][Ss][Ii][Gg][Hh][Tt])$",
                },
                "pipelines": {"type": ["array", "null"], "items": {"type": "string"}},
            },
        },
    },
}

_NOTICE = "Written by `bin/charts document` from `values.yaml`, as is `values.schema.json`."


def values_schema(values: Sequence[ChartValue]) -> dict[str, Any]:
    """Make the JSON schema of a chart's values.

    Parameters
    ----------
    values
        Values of the chart. Types follow from the defaults, unless a value declares its own.

    Returns
    -------
    schema
        Schema that rejects unknown keys, except for Helm's ``global``.
    """
    top = _object()
    for value in values:
        parent = top
        for key in value.path[:-1]:
            parent = parent["properties"].setdefault(key, _object())
        leaf = {"description": value.description, **_type(value), **value.constraints}
        parent["properties"][value.path[-1]] = leaf
    top["properties"]["global"] = {
        "type": "object",
        "description": "Values that Phalanx passes to all charts",
    }
    used = json.dumps(top)
    definitions: dict[str, Any] = {}
    for name in ("resources", "quantities", "selection", "range", "profiles", "overrides"):
        if f'"#/$defs/{name}"' in used + json.dumps(definitions):
            definitions[name] = _DEFINITIONS[name]
    if definitions:
        top["$defs"] = definitions
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **top}


def chart_documents(folder: Path) -> dict[Path, str]:
    """Generate the documents of a chart or an application.

    Parameters
    ----------
    folder
        Folder of ``Chart.yaml``.

    Returns
    -------
    documents
        Content by file. An application's values for a chart have the chart's descriptions.
    """
    chart = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
    parts = _parts(folder, chart)
    values = [_explained(value, parts) for value in _values_of(folder)]
    documents = {folder / "README.md": _readme(folder, chart, values, parts)}
    dependencies = chart.get("dependencies", ())
    others = {one["name"] for one in dependencies if is_of_others(one)}
    schema = values_schema([one for one in values if not parts or one.path[0] in others])
    for one in dependencies:
        properties = schema["properties"]
        if one["name"] in others:
            # Helm adds the defaults of that chart, whose own schema knows all its keys, before it checks.
            _open(properties.setdefault(one["name"], _object()))
        else:
            # Helm checks values below a part's name against the part's own schema.
            properties[one["name"]] = {"type": "object"}
    if chart.get("type") != "library":
        documents[folder / "values.schema.json"] = json.dumps(schema, indent=2) + "\n"
    return documents


def _values_of(folder: Path) -> list[ChartValue]:
    path = folder / "values.yaml"
    return read_values(path) if path.is_file() else []


def _parts(folder: Path, chart: Mapping[str, Any]) -> dict[str, dict[str, ChartValue]]:
    """Return the values of an application's charts, by name."""
    folders = (
        (folder / dependency["repository"].removeprefix("file://")).resolve()
        for dependency in chart.get("dependencies", ())
        if not is_of_others(dependency)
    )
    return {
        part.name: {value.name: value for value in _values_of(part)}
        for part in folders
        if (part / "values.yaml").is_file()
    }


def _explained(value: ChartValue, parts: Mapping[str, Mapping[str, ChartValue]]) -> ChartValue:
    if value.description or not value.path:
        return value
    known = parts.get(value.path[0], {})
    for length in range(len(value.path), 1, -1):
        if (found := known.get(".".join(value.path[1:length]))) is not None:
            return ChartValue(value.path, value.default, found.description, found.constraints)
    return value


def _readme(
    folder: Path,
    chart: Mapping[str, Any],
    values: Sequence[ChartValue],
    parts: Mapping[str, Mapping[str, ChartValue]],
) -> str:
    lines = [f"# {chart['name']}", "", f"{chart['description']}.", "", _NOTICE, ""]
    if parts:
        links = [f"[`{name}`](../../charts/{name}/README.md)" for name in parts]
        links += [
            f"`{one['name']}` {one['version']} of <{one['repository']}>"
            for one in chart["dependencies"]
            if is_of_others(one)
        ]
        names = ", ".join(links)
        lines += [f"Built from {names}; the values here override its defaults.", ""]
    environments = sorted(path.stem.removeprefix("values-") for path in folder.glob("values-*.yaml"))
    if environments:
        lines += [f"Environments: {', '.join(environments)}.", ""]
    if values:
        lines += ["| value | default | meaning |", "|---|---|---|"]
        lines += [
            f"| `{value.name}` | {_shown(value.default)} | {_cell(value.description)} |" for value in values
        ]
        lines.append("")
    secrets = folder / "secrets.yaml"
    if secrets.is_file():
        described = yaml.safe_load(secrets.read_text(encoding="utf-8")) or {}
        lines += ["| secret | meaning |", "|---|---|"]
        lines += [f"| `{name}` | {_cell(about['description'])} |" for name, about in described.items()]
        lines.append("")
    return "\n".join(lines)


def _shown(default: Any) -> str:
    return f"`{_cell(json.dumps(default))}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _open(schema: dict[str, Any]) -> None:
    """Let the mappings that hold values have other keys as well."""
    if schema.get("additionalProperties") is False and "properties" in schema:
        del schema["additionalProperties"]
        for one in schema["properties"].values():
            _open(one)


def _object() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _type(value: ChartValue) -> dict[str, Any]:
    if {"$ref", "enum", "anyOf"} & value.constraints.keys():
        return {}
    match value.default:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array"}
    return {"type": "object"}
