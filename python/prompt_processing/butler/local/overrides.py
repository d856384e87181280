"""A site's overrides of the local repository's Butler configuration."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from lsst.daf.butler import Config, Formatter, FormatterV2
from lsst.resources import ResourcePath
from lsst.utils import doImportType

from ..errors import passing
from ..recorded_formatters import table_of_readers

__all__ = ["LocalOverridesError", "read_overrides"]

_LOG = logging.getLogger("lsst.activator.storage.local_repository")

_FIXED = ("cls", "root", "datastores", "templates", "records", "table")
"""Parts of the datastore that stay as they are: file names must hold the id of their dataset."""


class LocalOverridesError(ValueError):
    """The overrides are missing, or are not a Butler configuration."""


def read_overrides(uri: str) -> dict[str, Any]:
    """Read overrides of the Butler configuration.

    Parts that this repository must decide itself, and formatters that are not installed, are left out with a
    warning.

    Parameters
    ----------
    uri : `str`
        URI of a YAML file in the form of ``butler.yaml``.

    Returns
    -------
    overrides : `dict` [`str`, `~typing.Any`]
        Configuration by section.

    Raises
    ------
    LocalOverridesError
        Raised if the file is missing or unusable.
    RetriableError
        Raised if its store does not answer.
    """
    path = ResourcePath(uri, forceDirectory=False)
    with passing(f"Reading {uri}"):
        try:
            content = yaml.safe_load(path.read())
            if content is None:
                return {}
            _require_sections(content)
            # Includes are resolved relative to the file.
            overrides: dict[str, Any] = Config(path).toDict()
            _require_sections(overrides.get("datastore", {}))
        except FileNotFoundError as error:
            raise LocalOverridesError(f"{uri} does not exist") from error
        except (yaml.YAMLError, TypeError, KeyError, ValueError, RuntimeError) as error:
            raise LocalOverridesError(f"{uri} is not a Butler configuration: {_first_line(error)}") from error
    if "datastore" in overrides:
        overrides["datastore"] = dict(_usable(overrides["datastore"], uri))
    return overrides


def _require_sections(content: object) -> None:
    if not isinstance(content, Mapping):
        raise TypeError(f"{type(content).__name__} where settings by name belong")


def _usable(datastore: Mapping[str, Any], uri: str) -> Iterator[tuple[str, Any]]:
    for name, value in datastore.items():
        if name in _FIXED:
            _LOG.warning("datastore.%s of %s is ignored: local repositories set it themselves.", name, uri)
        elif name == "formatters" and isinstance(value, Mapping):
            yield name, dict(_usable_formatters(value, uri))
        else:
            yield name, value


def _usable_formatters(formatters: Mapping[str, Any], uri: str) -> Iterator[tuple[str, Any]]:
    for key, value in formatters.items():
        if key in ("default", "write_recipes") and isinstance(value, Mapping):
            # Options and recipes by formatter.
            yield key, {name: one for name, one in value.items() if _is_installed(name, uri)}
            continue
        name = value.get("formatter") if isinstance(value, Mapping) else value
        if name is None or _is_installed(str(name), uri):
            yield key, value


def _is_installed(formatter: str, uri: str) -> bool:
    try:
        # A stand-in of a formatter of another stack reads that stack's files, and writes none.
        is_stand_in = formatter in table_of_readers()["formatters"]
        if not is_stand_in and issubclass(doImportType(formatter), Formatter | FormatterV2):
            return True
    except (ImportError, TypeError, ValueError):
        pass
    _LOG.warning("Settings of %s in %s are ignored: no such formatter is installed.", formatter, uri)
    return False


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
