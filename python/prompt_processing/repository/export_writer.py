"""Write datasets of a repository to a folder that another repository can read."""

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
"""Summary of the export, and the chains that its collections belong in."""


def write_export(butler: Butler, folder: Path, selection: Selection, source: str) -> dict[str, Any]:
    """Write an export.

    Parameters
    ----------
    butler
        The repository.
    folder
        New or empty folder; the datasets' files are copied into it.
    selection
        Content of the export.
    source
        Name of the repository, recorded in the export.

    Returns
    -------
    contents
        Content of `CONTENTS_FILE`.

    Raises
    ------
    RepositoryProblemError
        Raised if the folder is not empty, or nothing was selected.

    Notes
    -----
    Chains are not exported: an import would replace existing chains of the same
    name. The importer extends them instead.
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
