"""Run the notebook of a night, and write it as one HTML page that needs no other file."""

from __future__ import annotations

import html
import logging
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArchiveError
from ..manifest import write_whole

if TYPE_CHECKING:
    from traitlets.config import Config

__all__ = ["NOTEBOOK", "write_report"]

NOTEBOOK = Path(__file__).with_name("night_report.ipynb")
"""The notebook of the package."""

_LONGEST_SOCKET = 90
"""Characters of the path of a kernel; those of its sockets have about ten more, and 107 at most."""

_STYLE = """
body { font: 15px/1.45 sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; color: #1a1a1a; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 1.8em; border-bottom: 1px solid #ccc; padding-bottom: .2em; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 14px; margin: .5em 0; }
th, td { padding: .25em .8em; text-align: left; border: 0; } tr:nth-child(even) td { background: #f3f3f3; }
thead th { border-bottom: 2px solid #888; } pre { white-space: pre-wrap; }
.jp-OutputPrompt, .jp-InputPrompt, .prompt, .anchor-link { display: none; }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #e6e6e6; } tr:nth-child(even) td { background: #22262d; }
  img { background: #fff; }
}
"""


def write_report(
    path: Path,
    parameters: Mapping[str, object],
    title: str,
    notebook: Path = NOTEBOOK,
    keep: Path | None = None,
) -> None:
    """Run a notebook with parameters, and write its outputs as a page.

    Parameters
    ----------
    path
        Page to write. It makes no request to any other address.
    parameters
        Values for the cell that is tagged ``parameters``.
    title
        Heading.
    notebook
        Notebook; a changed copy of the package's, for example.
    keep
        Where to write the notebook with its outputs, too.

    Raises
    ------
    ArchiveError
        Raised if a cell fails; the message has the error.
    """
    import nbformat
    import papermill
    from nbconvert.exporters import HTMLExporter

    # Papermill logs each cell.
    logging.getLogger("papermill").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        done = Path(scratch) / "report.ipynb"
        try:
            papermill.execute_notebook(
                str(notebook),
                str(done),
                parameters=dict(parameters),
                kernel_name="python3",
                progress_bar=False,
                cwd=str(Path.cwd()),
                config=_private_kernel(Path(scratch)),
            )
        except papermill.PapermillExecutionError as error:
            raise ArchiveError(
                f"The notebook {notebook.name} fails in its cell {error.cell_index}: "
                f"{error.ename}: {error.evalue}"
            ) from error
        content = nbformat.read(done, as_version=4)
        if keep is not None:
            keep.write_bytes(done.read_bytes())
    _describe_figures(content)
    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_input_prompt=True)
    exporter.exclude_output_prompt = True
    body, _ = exporter.from_notebook_node(content)
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>{body}</body></html>\n"
    )
    with write_whole(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _private_kernel(folder: Path) -> Config:
    """Return the options of a kernel whose sockets are files of a private folder.

    Other users of the machine could read the outputs from its TCP ports.
    """
    from traitlets.config import Config

    file = folder / "kernel.json"
    # Paths of sockets are short.
    transport = "ipc" if len(str(file)) < _LONGEST_SOCKET else "tcp"
    return Config(KernelManager={"transport": transport, "connection_file": str(file)})


def _describe_figures(notebook: Any) -> None:
    """Give figures that have no alternative text the heading above them."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.findall(r"^#+ +(.+)", cell.source, re.MULTILINE)):
            heading = found[-1].strip()
        for shown in cell.get("outputs", []):
            for kind in shown.get("data", {}):
                if kind.startswith("image/") and heading:
                    shown["metadata"].setdefault(kind, {}).setdefault("alt", heading)
