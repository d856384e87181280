"""Packages of pretrained models, as which the stack stores networks."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from prompt_processing.images.afw.errors import StackFileError

__all__ = ["MODEL_FILE", "ModelPackage", "read_model_package"]

MODEL_FILE = "reliability_model.json"
"""Name of this project's model in a package; a folder may precede it."""

_LARGEST = 20_000_000
"""Bytes of a model, unpacked: far more than any of this project's has."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelPackage:
    """What is known of a package.

    Attributes
    ----------
    fields
        The model, if it is one of this project's; otherwise `None`.
    files
        Names of the files in the package.
    """

    fields: Mapping[str, Any] | None
    files: tuple[str, ...]


def read_model_package(path: str | Path) -> ModelPackage:
    """Read a package: a ZIP archive. Nothing in it is run.

    Raises
    ------
    StackFileError
        Raised if it is not a ZIP archive, or the model in it is not a JSON object.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            files = tuple(archive.namelist())
            ours = [name for name in files if PurePosixPath(name).name == MODEL_FILE]
            if not ours:
                return ModelPackage(None, files)
            with archive.open(ours[0]) as file:
                text = file.read(_LARGEST + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise StackFileError(f"{path} is not a readable ZIP archive of a model: {error}") from error
    if len(text) > _LARGEST:
        raise StackFileError(f"{ours[0]} in {path} has more than {_LARGEST} bytes.")
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise StackFileError(f"{ours[0]} in {path} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise StackFileError(f"{ours[0]} in {path} is not a JSON object.")
    return ModelPackage(fields, files)
