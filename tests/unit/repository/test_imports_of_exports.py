"""Exports that are damaged, or of another stack."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from lsst.daf.butler import Butler, DimensionUniverse, StorageClassFactory

from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.repository.imports import import_export

EXPORT = "{universe_version: 7, data: [{type: dataset_type, name: a, storage_class: ThingOfAnExport}]}"


def repository(imported: list[Any]) -> Butler:
    """Return a repository without content that takes what is well-formed."""
    butler = SimpleNamespace(
        dimensions=DimensionUniverse(),
        get_many_datasets=lambda identities: [],
        query_datasets=lambda *arguments, **keywords: [],
        import_=lambda **keywords: imported.append(keywords),
    )
    return cast(Butler, butler)


@pytest.mark.parametrize(
    ("export", "contents"),
    [
        ("a: [", None),
        ("[1]", None),
        ("", None),
        ("{data: 3}", None),
        ("{universe_version: 7}", None),
        ("{universe_version: many, data: []}", None),
        ("{data: [{name: a}]}", None),
        ("{data: [{type: dataset, dataset_type: a, run: r}]}", None),
        ("{data: [{type: dataset, dataset_type: a, run: r, records: [{dataset_id: [no]}]}]}", None),
        (EXPORT, "{"),
        (EXPORT, "[]"),
        (EXPORT, "{}"),
        (EXPORT, '{"chains": {"LSSTCam/defaults": "refcats"}}'),
    ],
)
def test_damaged_export_is_named_and_nothing_is_imported(
    tmp_path: Path, export: str, contents: str | None
) -> None:
    (tmp_path / "export.yaml").write_text(export)
    if contents is not None:
        (tmp_path / "contents.json").write_text(contents)
    imported: list[Any] = []
    file = "export.yaml" if contents is None else "contents.json"
    with pytest.raises(RepositoryProblemError, match=f"{file} is damaged or not of an export; nothing was"):
        import_export(repository(imported), tmp_path)
    assert not imported


def test_storage_classes_of_another_stack_are_taken_by_name(tmp_path: Path) -> None:
    (tmp_path / "export.yaml").write_text(EXPORT)
    imported: list[Any] = []
    import_export(repository(imported), tmp_path)
    assert len(imported) == 1
    assert "ThingOfAnExport" in StorageClassFactory()
