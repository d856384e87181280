"""Write datasets of a repository into a folder that another repository can read."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lsst.daf.butler import Butler

from prompt_processing.domain.errors import RepositoryProblemError

from .export_selection import Selection

_LOG = logging.getLogger("lsst.repository.export")

EXPORT_FILE = "export.yaml"
"""The Butler's own format; ``butler import`` reads it as well."""
CONTENTS_FILE = "contents.json"
"""What is in the export, for people, and where its collections belong."""


def write_export(butler: Butler, folder: Path, selection: Selection, source: str) -> dict[str, Any]:
    """Write an export.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The repository.
    folder : `~pathlib.Path`
        New or empty; the datasets' files are copied below it.
    selection : `Selection`
        What goes into it.
    source : `str`
        Names the repository, for the record.

    Returns
    -------
    contents : `dict`
        What was written to `CONTENTS_FILE`.

    Raises
    ------
    RepositoryProblemError
        The folder has something in it, or nothing was selected.

    Notes
    -----
    Chains are not exported: read back, they would replace those of the same
    name. The importer adds to them instead.
    """
    if not selection.refs:
        raise RepositoryProblemError(f"Nothing in {source} matches: there is nothing to export.")
    if folder.exists() and any(folder.iterdir()):
        raise RepositoryProblemError(f"{folder} is not empty: name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with butler.export(directory=str(folder), filename=EXPORT_FILE, format="yaml", transfer="copy") as export:
        export.saveDatasets(selection.refs.values())
        for collection in sorted(selection.collections):
            export.saveCollection(collection)
        for element, records in selection.records.items():
            export.saveDimensionData(element, records)
    contents = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": source,
        "universe": f"{butler.dimensions.namespace} {butler.dimensions.version}",
        "datasets": selection.counts(),
        "chains": selection.chains,
    }
    (folder / CONTENTS_FILE).write_text(json.dumps(contents, indent=1) + "\n")
    _LOG.info("Wrote %d datasets of %s to %s.", len(selection.refs), source, folder)
    return contents
