"""HATS catalogues are made of what an archive has, and replace older ones at the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prompt_processing.archive import hats_catalogues
from prompt_processing.archive.errors import ArchiveError
from prompt_processing.archive.hats_catalogues import build_catalogues, is_current
from prompt_processing.archive.manifest import ArchivedFile, NightManifest


@pytest.fixture(autouse=True)
def _no_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for hats-import, which takes seconds; tests/integration has the real one."""

    def fake(catalogue: str, inputs: Sequence[Path], output: Path, scratch: Path, client: Any) -> None:
        (output / catalogue).mkdir()

    monkeypatch.setattr(hats_catalogues, "_import", fake)
    monkeypatch.setattr(hats_catalogues, "_check", lambda collection, expected: None)
    monkeypatch.setattr(hats_catalogues, "_client", lambda address: nullcontext())


def a_night(root: Path, *tables: str) -> NightManifest:
    manifest = NightManifest(day_obs=20261120)
    for name in tables:
        path = root / f"{name}.parquet"
        columns = {"diaObjectId": [1], "validityStartMjdTai": [1.0], "ra": [1.0], "dec": [2.0]}
        pq.write_table(pa.table({**columns, "midpointMjdTai": [1.0]}), path)
        manifest.files.append(ArchivedFile.of(root, path, name, 1, 1))
    return manifest


def test_night_of_movers_only_has_a_catalogue_of_sources(tmp_path: Path) -> None:
    assert build_catalogues(tmp_path, [a_night(tmp_path, "DiaSource")]) == {"dia_source": 1}


def test_catalogues_are_current_until_a_table_changes(tmp_path: Path) -> None:
    night = a_night(tmp_path, "DiaSource", "DiaObject")
    assert not is_current(tmp_path, [night])
    assert build_catalogues(tmp_path, [night]) == {"dia_object_lc": 1, "dia_source": 1}
    assert is_current(tmp_path, [night])
    assert not is_current(tmp_path, [night, a_night(tmp_path, "DiaForcedSource")])


def test_older_catalogues_stay_when_new_ones_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = a_night(tmp_path, "DiaSource")
    build_catalogues(tmp_path, [night])

    def fail(collection: Path, expected: int) -> None:
        raise ArchiveError("rows are missing")

    monkeypatch.setattr(hats_catalogues, "_check", fail)
    with pytest.raises(ArchiveError):
        build_catalogues(tmp_path, [night, night])
    assert is_current(tmp_path, [night])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["DiaSource.parquet", "hats"]


def test_archive_without_sources_has_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no DiaSources yet"):
        build_catalogues(tmp_path, [])
