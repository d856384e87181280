"""Outputs of images whose process died between the APDB and the export."""

from __future__ import annotations

from prompt_processing.butler.collections import Collections
from prompt_processing.butler.opening import open_repository
from prompt_processing.butler.pipelines.files import read_prompt_pipeline

__all__ = ["has_outputs", "without_apdb"]

_APDB_TASK = "associateApdb"


def without_apdb(path: str) -> str | None:
    """Return a pipeline with a fragment that selects all tasks but the one that writes to the APDB.

    Returns
    -------
    path
        `None` for a pipeline without such a task, or with no other.

    Raises
    ------
    FileNotFoundError, PipelineError
        Raised if the pipeline cannot be read.
    """
    labels = list(read_prompt_pipeline(path).task_labels)
    rest = [label for label in labels if label != _APDB_TASK]
    return f"{path}#{','.join(rest)}" if rest and len(rest) < len(labels) else None


def has_outputs(repo: str, instrument: str, exposure: int, detector: int) -> bool:
    """Return whether a repository has outputs of an image.

    Parameters
    ----------
    repo
        Central repository.
    instrument
        Short name.
    exposure, detector
        The image.
    """
    bind = {"the_exposure": exposure, "the_detector": detector}
    where = f"instrument = '{instrument}' AND exposure = the_exposure AND detector = the_detector"
    with open_repository(repo) as butler:
        nights = butler.collections.query(Collections(instrument).output_chain("*"))
        for run in butler.collections.query_info(nights, flatten_chains=True, include_summary=True):
            for name in sorted(run.dataset_types or ()):
                dimensions = set(butler.get_dataset_type(name).dimensions.names)
                if "detector" not in dimensions or not dimensions & {"visit", "exposure"}:
                    continue
                if butler.query_datasets(name, run.name, where=where, bind=bind, explain=False, limit=1):
                    return True
    return False
