"""A site's overrides of the local repository are used, or refused by name."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from lsst.daf.butler import DatasetType, DimensionUniverse

from prompt_processing.butler.collections import Collections
from prompt_processing.butler.local.overrides import LocalOverridesError, read_overrides
from prompt_processing.butler.local.repository import LocalRepository

OVERRIDES = """
datastore:
  cls: somebody.Datastore
  templates:
    default: "{run:/}/{datasetType}"
  formatters:
    StructuredDataDict: lsst.daf.butler.formatters.json.JsonFormatter
    ExposureF:
      formatter: lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter
      parameters: {recipe: lossyBasic}
    write_recipes:
      lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter: {lossyBasic: {}}
"""


def write(folder: Path, text: str) -> str:
    path = folder / "overrides.yaml"
    path.write_text(text)
    return str(path)


def test_formatters_of_the_site_are_used(tmp_path: Path) -> None:
    overrides = read_overrides(write(tmp_path, OVERRIDES))
    local = LocalRepository.create(str(tmp_path), DimensionUniverse(), Collections("LSSTCam"), overrides)
    try:
        butler = local.butler
        butler.registry.registerDatasetType(
            DatasetType("numbers", (), "StructuredDataDict", universe=butler.dimensions)
        )
        butler.collections.register("tests")
        ref = butler.put({"a": 1}, "numbers", run="tests")
        (exported,) = local.export_files([ref])
        assert str(exported.path).endswith(f"{ref.id}.json")
        assert butler.get(ref) == {"a": 1}
    finally:
        local.close()


def test_what_cannot_be_overridden_or_is_not_installed_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    overrides = read_overrides(write(tmp_path, OVERRIDES))
    assert overrides["datastore"].keys() == {"formatters"}
    assert "ExposureF" not in overrides["datastore"]["formatters"]
    for name in ("datastore.cls", "datastore.templates", "FitsExposureFormatter"):
        assert name in caplog.text


def test_empty_file_overrides_nothing(tmp_path: Path) -> None:
    assert read_overrides(write(tmp_path, "# nothing\n")) == {}


@pytest.mark.parametrize("text", ["- a list", "text", "{", "datastore: 3", "datastore: [a]"])
def test_file_that_is_no_configuration_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(LocalOverridesError, match=r"overrides\.yaml is not a Butler configuration"):
        read_overrides(write(tmp_path, text))


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LocalOverridesError, match=r"absent\.yaml does not exist"):
        read_overrides(str(tmp_path / "absent.yaml"))
