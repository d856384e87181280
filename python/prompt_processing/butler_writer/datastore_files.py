"""Files of outputs in the central datastore."""

from __future__ import annotations

import logging
from contextlib import suppress

from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from prompt_processing.butler.export import datastore_root
from prompt_processing.butler.messages import VisitOutputs

__all__ = ["are_all_there", "remove_unknown"]

_log = logging.getLogger("lsst.butler_writer.datastore_files")


def are_all_there(butler: Butler, outputs: VisitOutputs) -> bool:
    """Return whether each dataset of a message has its file."""
    root = datastore_root(butler)
    return all(ResourcePath.mexists([root.join(one.path) for one in outputs.datasets]).values())


def remove_unknown(butler: Butler, outputs: VisitOutputs) -> int:
    """Remove the files of datasets that the repository does not have.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The repository.
    outputs : `~prompt_processing.butler.messages.VisitOutputs`
        Outputs whose files to check.

    Returns
    -------
    n_removed : `int`
        Number of removed files.
    """
    root = datastore_root(butler)
    n_removed = 0
    for dataset in outputs.datasets:
        for identity in dataset.refs:
            # The id in its name shows that the file belongs to no other dataset.
            if str(identity) not in dataset.path or ".." in dataset.path.split("/"):
                _log.error("%s is not named after its dataset; it stays.", dataset.path)
            elif butler.get_dataset(identity) is None:
                with suppress(FileNotFoundError):
                    root.join(dataset.path).remove()
                    n_removed += 1
    return n_removed
