"""Which package broke a notebook, found with real environments."""

from __future__ import annotations

from pathlib import Path

from notebook_wheels import Run, write_list, write_notebook, write_wheel


def freeze(run: Run, environments: Path, name: str, *requirements: str) -> Path:
    """Return the frozen list of some requirements."""
    run("env-create", name, write_list(environments / name, f"{name}.pip", "hostkernel", *requirements))
    run("env-freeze", name)
    return environments / name / f"{name}-frozen.txt"


def test_change_that_broke_a_notebook_is_found_among_others(
    run: Run, environments: Path, index: Path, tmp_path: Path
) -> None:
    for version in ("1.0", "2.0"):
        write_wheel(index, "stork", version)
    old = freeze(run, environments, "old", "stork<2", "heron<2")
    new = freeze(run, environments, "new", "stork", "heron")
    since = tmp_path / "since.ipynb"
    write_notebook(since, "import heron, stork", "assert heron.colour == 'grey', heron.colour")
    shown = run("env-diff", old, new, since, status=1).stdout
    assert "stork rose from 1.0 to 2.0, a new major version.\n" in shown
    why = "heron rose from 1.0 to 2.0, a new major version: AssertionError: white"
    assert f"since.ipynb is broken, because {why}\n" in shown
