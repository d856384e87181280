"""A notebook runs with parameters as a flow, and the navigator shows its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from lsst.daf.butler import Butler

from prompt_processing.archive.errors import ArchiveError
from prompt_processing.flows.daily.run_notebook import read_parameters
from prompt_processing.flows.engine import execute
from prompt_processing.flows.errors import FlowError
from prompt_processing.flows.flow import load_flow
from prompt_processing.flows.place import Place
from prompt_processing.flows.run import Silent
from prompt_processing.repository.plots.find import (
    collection_content,
    collections_with_plots,
    plots_at,
    read_plot,
)

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="


def write_notebook(path: Path, *more: str) -> None:
    show = f"from IPython.display import Image, display\nimport base64\nPNG = base64.b64decode('{PIXEL}')\n"
    cells = [
        nbformat.v4.new_markdown_cell("# How many <birds>\n\nA count."),
        nbformat.v4.new_code_cell("visits = []\nname = ''", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(show + "print(f'{sum(visits)} of {name}')\ndisplay(Image(PNG))"),
        *map(nbformat.v4.new_code_cell, more),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "p", "language": "python"}
    nbformat.write(notebook, path)


def run(folder: Path, dry_run: bool = False, **parameters: Any) -> None:
    execute(
        load_flow("run-notebook"),
        parameters,
        work=folder / "work",
        place=Place(),
        reporter=Silent(),
        dry_run=dry_run,
    )


def test_figures_of_a_notebook_are_shown_by_the_navigator(tmp_path: Path) -> None:
    notebook, page = tmp_path / "bird-count.ipynb", tmp_path / "page.html"
    write_notebook(notebook)
    repo = str(tmp_path / "repo")
    Butler.makeRepo(repo)
    asked: dict[str, Any] = {
        "notebook": notebook, "output": page, "repo": repo, "parameters": ("visits=[3,4]", "name=herons"),
    }  # fmt: skip
    run(tmp_path, dry_run=True, **asked)
    assert not page.exists()
    run(tmp_path, **asked)
    text = page.read_text()
    assert "<h1>How many &lt;birds&gt;</h1>" in text
    assert "7 of herons" in text
    assert 'alt="How many &lt;birds&gt;"' in text
    with Butler.from_config(repo) as butler:
        assert "notebooks/bird_count" in collections_with_plots(butler)
        (kind,) = collection_content(butler, "notebooks/bird_count").kinds
        assert (kind.name, kind.tab) == ("bird_count_01_plot", "global")
        (plot,) = plots_at(butler, "notebooks/bird_count", [kind], ())
        content, media_type = read_plot(butler, plot)
    assert media_type == "image/png"
    assert content.startswith(b"\x89PNG")


def test_notebook_that_fails_is_named_and_stores_nothing(tmp_path: Path) -> None:
    notebook = tmp_path / "birds.ipynb"
    write_notebook(notebook, "1 / 0")
    Butler.makeRepo(str(tmp_path / "repo"))
    with pytest.raises(ArchiveError, match=r"birds\.ipynb fails in its cell \d+: ZeroDivisionError"):
        run(tmp_path, notebook=notebook, output=tmp_path / "page.html", repo=str(tmp_path / "repo"))
    assert not (tmp_path / "page.html").exists()
    with Butler.from_config(str(tmp_path / "repo")) as butler:
        assert not butler.collections.query("*")


def test_wrong_parameters_are_named(tmp_path: Path) -> None:
    notebook = tmp_path / "birds.ipynb"
    write_notebook(notebook)
    with pytest.raises(FlowError, match=r"birds\.ipynb has no parameter visit; it has visits, name"):
        run(tmp_path, notebook=notebook, output=tmp_path / "page.html", parameters=("visit=7",))
    with pytest.raises(FlowError, match=r"nowhere\.ipynb does not exist"):
        run(tmp_path, notebook=tmp_path / "nowhere.ipynb", output=tmp_path / "page.html")
    with pytest.raises(FlowError, match="'visits' is not NAME=VALUE"):
        read_parameters(("visits",))


def test_values_are_numbers_lists_or_text() -> None:
    texts = ("visit=7", "limit=1.5", "visits=[7, 8]", "night=2026-05-31", "output=u/me", "name=", "a={b: 1}")
    assert read_parameters(texts) == {
        "visit": 7, "limit": 1.5, "visits": [7, 8], "night": "2026-05-31", "output": "u/me", "name": "",
        "a": "{b: 1}",
    }  # fmt: skip
