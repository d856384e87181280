"""What containers install, and where they find what was compiled for them."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from prompt_delivery.release.errors import ReleaseError
from prompt_delivery.release.requirements import needed_distributions, select_from_lock

PROJECT = Path(__file__).parents[4]
LOCK = """\
a==1 \\
    --hash=sha256:0
b-c==2 ; python_full_version < '3.12' \\
    --hash=sha256:1
b-c==3 ; python_full_version >= '3.12' \\
    --hash=sha256:2
d==4 \\
    --hash=sha256:3
"""
FUNCTION = "import numba\n\n\n@numba.njit(cache=True)\ndef double(x):\n    return 2 * x\n"
CALL = """
import sys, numbered
assert numbered.double(eval(sys.argv[1])) == 2 * eval(sys.argv[1])
print(sum(numbered.double.stats.cache_hits.values()), sum(numbered.double.stats.cache_misses.values()))
"""


def test_service_needs_neither_demo_nor_developers_tools() -> None:
    needed = needed_distributions()
    assert {"lsst-daf-butler", "numba", "psycopg-binary", "confluent-kafka"} <= needed
    assert not {"galsim", "moto", "matplotlib", "pytest", "mypy", "prompt-processing"} & needed


def test_containers_python_decides_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {"a": ["b ; python_version >= '3.13'", "c ; python_version >= '3.14'"]}
    monkeypatch.setattr(metadata, "requires", lambda name: lines.get(name, []))
    assert needed_distributions(distribution="a") == {"b"}


def test_everything_that_containers_need_is_locked_with_hashes() -> None:
    names = needed_distributions(["demo"]) | {"pip", "setuptools", "setuptools-scm", "vcs-versioning"}
    chosen = select_from_lock((PROJECT / "requirements.lock").read_text("utf-8"), names)
    entries = chosen.split("\n    --hash")
    assert chosen.count("==") >= len(names)
    assert len(entries) > len(names)


def test_selection_keeps_entries_as_they_are() -> None:
    assert select_from_lock(LOCK, ["b-c"]) == "".join(LOCK.splitlines(keepends=True)[2:6])
    assert select_from_lock(LOCK, ["a", "b-c", "d"]) == LOCK


def test_what_is_not_locked_is_refused_by_name() -> None:
    with pytest.raises(ReleaseError, match=r"lacks e\b"):
        select_from_lock(LOCK, ["a", "e"])


def test_compiled_functions_are_found_where_nothing_can_be_written(tmp_path: Path) -> None:
    code, shared, home = tmp_path / "code", tmp_path / "shared", tmp_path / "home"
    for folder in (code, shared, home):
        folder.mkdir()
    (code / "numbered.py").write_text(FUNCTION)

    def call(argument: str, **extra: str) -> tuple[int, int]:
        environment = {**os.environ, "PYTHONPATH": f"{code}:{PROJECT / 'python'}", "HOME": str(home), **extra}
        done = subprocess.run(
            [sys.executable, "-B", "-c", CALL, argument],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        hits, misses = done.stdout.split()
        return int(hits), int(misses)

    assert call("1") == (0, 1)
    shipped = sorted((code / "__pycache__").iterdir())
    was = [path.read_bytes() for path in shipped]
    there = {
        "NUMBA_CACHE_LOCATOR_CLASSES": "prompt_processing.compilation.shipped_code.ShippedCodeLocator",
        "TMPDIR": str(shared),
    }
    assert call("1", **there) == (1, 0)
    # Another type is compiled once, and the copy that everybody shares stays as it is.
    assert call("1.5", **there) == (0, 1)
    assert call("1.5", **there) == (1, 0)
    assert call("1", **there) == (1, 0)
    assert [path.read_bytes() for path in shipped] == was
    assert sorted((code / "__pycache__").iterdir()) == shipped
