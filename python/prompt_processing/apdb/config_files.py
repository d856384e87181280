"""Read the configuration of an APDB, which others may have made."""

from __future__ import annotations

import os.path
from typing import Any

from lsst.dax.apdb import ApdbConfig

__all__ = ["read_config"]

_STACK_FOLDERS = ("${SDM_SCHEMAS_DIR}/yml/", "$SDM_SCHEMAS_DIR/yml/")
_PACKAGE = "resource://lsst.sdm.schemas/"


def read_config(uri: str) -> ApdbConfig:
    """Read the configuration of an APDB.

    Schemas of the stack's package ``sdm_schemas`` are read from the Python package, unless the stack is set
    up: configurations of older versions name them by its environment variable.

    Parameters
    ----------
    uri
        URI of the configuration, or ``label:`` and a name in the index.

    Raises
    ------
    Exception
        Any of many kinds; `.failures.configuration_problem` explains those that waiting does not mend.
    """
    config = ApdbConfig.from_uri(uri)
    changes: dict[str, Any] = {}
    for field in ("schema_file", "ss_schema_file"):
        place: str = getattr(config, field)
        is_set = "$" not in os.path.expandvars(place)
        for folder in _STACK_FOLDERS:
            if place.startswith(folder) and not is_set:
                changes[field] = _PACKAGE + place.removeprefix(folder)
    return config.model_copy(update=changes)
