"""Find the neighbours' checkouts, and start ours beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prompt_processing.butler.types import use_butler_types

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(Path(__file__).parent)]
pytest_plugins = ["real_services", "butler_fixtures"]
use_butler_types()

from checkouts import Neighbours  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--neighbours", type=Path, help="Folder of checkouts, each named as its repository.")
    parser.addoption(
        "--neighbours-python",
        type=Path,
        help="Interpreter for the neighbours; by default venv/bin/python in the folder of checkouts.",
    )


@pytest.fixture(scope="session")
def neighbours(request: pytest.FixtureRequest) -> Neighbours:
    folder: Path | None = request.config.getoption("--neighbours")
    if folder is None:
        pytest.fail("Name the folder of checkouts: --neighbours FOLDER.", pytrace=False)
    python = request.config.getoption("--neighbours-python") or folder / "venv/bin/python"
    if not python.exists():
        pytest.fail(f"There is no interpreter {python}: see tools/neighbours/README.md.", pytrace=False)
    return Neighbours(folder, python)
