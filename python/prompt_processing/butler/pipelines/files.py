"""Find and read pipeline files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import prompt_processing
from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.instruments import InstrumentError, load_instrument

if TYPE_CHECKING:
    from lsst.pipe.base import Pipeline

__all__ = [
    "AFTERBURNER",
    "PACKAGE_FOLDER_VARIABLE",
    "PipelineError",
    "expand_path",
    "pipelines_folder",
    "read_pipeline",
    "read_prompt_pipeline",
]

AFTERBURNER = "afterburner"
"""Subset of tasks that no alert waits for; they run by day."""

PACKAGE_FOLDER_VARIABLE = "PROMPT_PROCESSING_DIR"
"""Environment variable for the folder that holds ``pipelines``, used in settings and pipelines."""


class PipelineError(RepositoryProblemError):
    """A pipeline file exists but is unusable; the message names it."""


def pipelines_folder(instrument: str) -> Path:
    """Return the folder of an instrument's pipelines: in the instrument's own folder, or in this package.

    Parameters
    ----------
    instrument : `str`
        Short name of the instrument.
    """
    try:
        own = load_instrument(instrument).pipelines
    except InstrumentError:
        own = None
    return own if own is not None and own.is_dir() else _package_folder() / "pipelines" / instrument


def expand_path(path: str) -> str:
    """Expand the environment variables in a pipeline's path.

    ``$PROMPT_PROCESSING_DIR`` defaults to this package.

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
    """Read a pipeline file and its imports.

    Parameters
    ----------
    path : `str`
        Path or URI. It may contain environment variables, and so may the imports in the file.

    Raises
    ------
    FileNotFoundError
        Raised if the file or one of its imports does not exist.
    PipelineError
        Raised if the file is not a pipeline.
    """
    from lsst.pipe.base import Pipeline

    _name_package_folder()
    try:
        return Pipeline.from_uri(path)
    except FileNotFoundError as error:
        # The missing file may be an import of this one.
        raise FileNotFoundError(f"Pipeline {path} cannot be read: no such file: {error}") from error
    # YAML, imports and stores have exceptions of their own.
    except Exception as error:
        raise PipelineError(f"Pipeline {path} cannot be read: {type(error).__name__}: {error}") from error


def read_prompt_pipeline(path: str) -> Pipeline:
    """Read a pipeline file without the tasks of its subset `AFTERBURNER`, unless a fragment selects tasks.

    The classes of these tasks are not imported, so that a worker needs none of their packages.

    Raises
    ------
    FileNotFoundError, PipelineError
        Raised as by `read_pipeline`.
    """
    pipeline = read_pipeline(path)
    if "#" in path:
        return pipeline
    later = set(pipeline.subsets.get(AFTERBURNER, ()))
    if later and later < set(pipeline.task_labels):
        for label in sorted(later):
            pipeline.removeLabelFromSubset(AFTERBURNER, label)
            pipeline.removeTask(label)
    return pipeline


def _package_folder() -> Path:
    return Path(prompt_processing.__path__[0]).resolve()


def _name_package_folder() -> None:
    # The middleware expands imports from the environment, where an empty value would mean the root folder.
    if not os.environ.get(PACKAGE_FOLDER_VARIABLE):
        os.environ[PACKAGE_FOLDER_VARIABLE] = str(_package_folder())
