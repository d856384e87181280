"""The pipeline of a reprocessing: preload and alert production together, with an APDB of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lsst.pipe.base import Pipeline

from prompt_processing.butler.pipelines.files import PipelineError, pipelines_folder, read_pipeline

from .errors import ReprocessingError

__all__ = ["default_pipelines", "write_pipeline"]

_APDB_TASKS = ("loadDiaCatalogs", "associateApdb")


def default_pipelines(instrument: str) -> tuple[str, str]:
    """Return the packaged preprocessing and main pipelines of a camera."""
    folder = pipelines_folder(instrument)
    return str(folder / "Preprocessing.yaml"), f"{folder / 'ApPipe.yaml'}#prompt"


def write_pipeline(path: Path, pipelines: Sequence[str], apdb: str) -> list[str]:
    """Merge pipelines into one file that uses a given APDB and sends no alerts.

    Parameters
    ----------
    path
        File to write.
    pipelines
        Pipeline files, each optionally with ``#task,subset``.
    apdb
        URI of the APDB's configuration.

    Returns
    -------
    labels
        Tasks of the pipeline.

    Raises
    ------
    ReprocessingError
        Raised if a pipeline cannot be read, or two define the same task.
    """
    merged: Pipeline | None = None
    for name in pipelines:
        try:
            one = read_pipeline(name)
        except (FileNotFoundError, PipelineError) as error:
            raise ReprocessingError(str(error)) from error
        if merged is None:
            merged = one
        elif twice := set(merged.task_labels) & set(one.task_labels):
            raise ReprocessingError(
                f"{name} has the tasks {', '.join(sorted(twice))} of another pipeline, too."
            )
        else:
            merged.mergePipeline(one)
    if merged is None:
        raise ReprocessingError("Name a pipeline.")
    labels = list(merged.task_labels)
    for label in _APDB_TASKS:
        if label in labels:
            merged.addConfigOverride(label, "apdb_config_uri", apdb)
    if "associateApdb" in labels:
        merged.addConfigOverride("associateApdb", "produce_alerts", False)
        # A process may die between its write and the files that say so.
        merged.addConfigOverride("associateApdb", "continue_writes", True)
    path.parent.mkdir(parents=True, exist_ok=True)
    merged.write_to_uri(str(path))
    return labels
