"""The flow that runs a notebook with parameters, and shows its figures in the navigator."""

from __future__ import annotations

import base64
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_processing.butler.opening import open_repository

from ..errors import FlowError
from ..flow import flow
from ..run import FlowRun
from .values import timestamp

if TYPE_CHECKING:
    from lsst.daf.butler import Butler


@flow
def run_notebook(
    run: FlowRun,
    *,
    notebook: Path,
    output: Path,
    parameters: tuple[str, ...] = (),
    title: str = "",
    repo: str = "",
    collection: str = "",
) -> None:
    """Run a notebook with parameters, write it as one HTML page, and store its figures for the navigator.

    Parameters
    ----------
    run
        The run of the flow.
    notebook
        Notebook with a cell tagged parameters, such as a tutorial.
    output
        Page to write.
    parameters
        Values of that cell, NAME=VALUE; a value may be a number or a list, such as visits=[7,8].
    title
        Heading of the page; by default the notebook's first line.
    repo
        Butler repository that gets the figures; by default they are on the page only.
    collection
        Chain of the figures, of which the navigator shows the newest; by default notebooks/<NOTEBOOK>.
    """
    values = read_parameters(parameters)
    if not notebook.is_file():
        raise FlowError(f"The notebook {notebook} does not exist.")
    name = re.sub(r"\W", "_", notebook.stem)
    chain = collection or f"notebooks/{name}"
    _check_names(notebook, values)
    if run.dry_run:
        stored = f", and its figures would be stored in {chain}" if repo else ""
        run.say(f"{output} would be written{stored}.")
        return
    from prompt_processing.archive.night_report.page import write_report

    with tempfile.TemporaryDirectory() as scratch:
        done = Path(scratch) / notebook.name
        write_report(output, values, title or _heading(notebook), notebook, done)
        run.say(f"{notebook.name} is written as {output}.")
        if not repo:
            return
        figures = _write_figures(done, Path(scratch))
        if figures:
            with open_repository(repo, writeable=True) as butler:
                _store(butler, figures, name, chain, f"{chain}/{run.remember('run', timestamp)}")
    run.say(f"{len(figures)} figures are in {chain}." if figures else f"{notebook.name} has no figures.")


def read_parameters(texts: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of ``NAME=VALUE``: numbers, lists and truth values as YAML writes them, or text.

    Raises
    ------
    FlowError
        Raised, with the text, if it is none.
    """
    import yaml

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise FlowError(f"the parameter {text!r} is not NAME=VALUE")
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            read = value
        # A date stays as it was written.
        found[name] = read if isinstance(read, bool | int | float | list) else value
    return found


def _check_names(notebook: Path, values: dict[str, Any]) -> None:
    import papermill

    known = papermill.inspect_notebook(str(notebook))
    if unknown := sorted(values.keys() - known.keys()):
        raise FlowError(
            f"{notebook.name} has no parameter {', '.join(unknown)}; it has {', '.join(known) or 'none'}."
        )


def _heading(notebook: Path) -> str:
    """Return the first heading of a notebook, or its name."""
    import nbformat

    texts = (
        cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "markdown"
    )
    found = next((re.match(r"#+ +(.+)", text) for text in texts), None)
    return found[1].strip() if found else notebook.stem


def _write_figures(notebook: Path, folder: Path) -> list[Path]:
    """Write the figures that the cells show, in their order, as PNG."""
    import nbformat

    written: list[Path] = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        for shown in cell.get("outputs", []):
            if picture := shown.get("data", {}).get("image/png"):
                path = folder / f"{len(written) + 1}.png"
                path.write_bytes(base64.b64decode(picture))
                written.append(path)
    return written


def _store(butler: Butler, figures: list[Path], name: str, chain: str, run: str) -> None:
    """Store figures as datasets of the storage class ``Plot``, in a run that becomes the first of a chain."""
    from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType, FileDataset

    from prompt_processing.repository.chains import add_to_chain

    universe = butler.dimensions
    files = []
    for number, path in enumerate(figures, 1):
        kind = DatasetType(f"{name}_{number:02d}_plot", (), "Plot", universe=universe)
        butler.registry.registerDatasetType(kind)
        files.append(FileDataset(str(path), [DatasetRef(kind, DataCoordinate.make_empty(universe), run)]))
    butler.collections.register(run)
    # A run that was interrupted has all of them or none.
    if not butler.query_datasets(files[0].refs[0].datasetType, run, limit=None, explain=False):
        butler.ingest(*files, transfer="copy")
    add_to_chain(butler, chain, [run])
