"""Where pipeline files are, and how they are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import prompt_processing
from prompt_processing.domain.errors import RepositoryProblemError

if TYPE_CHECKING:
    from lsst.pipe.base import Pipeline

__all__ = ["PACKAGE_FOLDER_VARIABLE", "PipelineError", "expand_path", "pipelines_folder", "read_pipeline"]

PACKAGE_FOLDER_VARIABLE = "PROMPT_PROCESSING_DIR"
"""The environment variable by which settings and pipelines name the folder that holds ``pipelines``."""


class PipelineError(RepositoryProblemError):
    """A pipeline file is there and cannot be used; the message names it."""


def pipelines_folder(instrument: str) -> Path:
    """Return the folder of an instrument's pipelines.

    Parameters
    ----------
    instrument : `str`
        Short name.
    """
    return _package_folder() / "pipelines" / instrument


def expand_path(path: str) -> str:
    """Expand the environment variables in a pipeline's path.

    ``$PROMPT_PROCESSING_DIR`` is this package where the environment does not set it.

    Raises
    ------
    ValueError
        Raised if another variable is not set.
    """
    _name_package_folder()
    expanded = os.path.expandvars(path)
    if "$" in expanded:
        raise ValueError(f"{path} names an environment variable that is not set")
    return expanded


def read_pipeline(path: str) -> Pipeline:
    """Read a pipeline file and what it imports.

    Parameters
    ----------
    path : `str`
        Path or URI. It and the imports in the file may hold environment variables.

    Raises
    ------
    FileNotFoundError
        Raised if the file, or one that it imports, does not exist.
    PipelineError
        Raised if it is not a pipeline.
    """
    from lsst.pipe.base import Pipeline

    _name_package_folder()
    try:
        return Pipeline.from_uri(path)
    except FileNotFoundError as error:
        # The file that does not exist may be one that this one imports.
        raise FileNotFoundError(f"Pipeline {path} cannot be read: no such file: {error}") from error
    except Exception as error:
        raise PipelineError(f"Pipeline {path} cannot be read: {type(error).__name__}: {error}") from error


def _package_folder() -> Path:
    return Path(prompt_processing.__path__[0]).resolve()


def _name_package_folder() -> None:
    # The middleware expands imports itself, from the environment. Empty, it would mean the root folder.
    if not os.environ.get(PACKAGE_FOLDER_VARIABLE):
        os.environ[PACKAGE_FOLDER_VARIABLE] = str(_package_folder())
