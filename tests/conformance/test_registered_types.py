"""Our pipelines on the dataset types that the reference stack has registered."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from lsst.daf.butler import DatasetType, DimensionUniverse

from prompt_processing.butler.pipelines.library import PipelineLibrary

FACTS = yaml.safe_load((Path(__file__).parent / "registered_types.yaml").read_text())
PIPELINES = Path(__file__).parents[2] / "pipelines" / "LSSTCam"
NAMES = {"reference_stars": "the_monster_20250219"}


@pytest.fixture(scope="module")
def library() -> PipelineLibrary:
    universe = DimensionUniverse()
    registered = {
        name: DatasetType(
            name,
            about["dimensions"],
            about["storage_class"],
            isCalibration=about.get("calibration", False),
            universe=universe,
        )
        for name, about in FACTS.items()
    }
    paths = [str(path) for path in sorted(PIPELINES.glob("*.yaml"))]
    return PipelineLibrary(paths, registered, universe, NAMES)


def test_outputs_that_cannot_have_the_stacks_types_have_names_of_their_own(library: PipelineLibrary) -> None:
    assert {name: other.theirs for name, other in library.others.items()} == {
        "dia_source_unfiltered": "SourceCatalog",
        "rejected_dia_source": "SourceCatalog",
        "dia_source_reliability": "Catalog",
        "apdb_marker": "Config",
    }
    ours = {one.name for one in library.dataset_types()}
    assert ours.isdisjoint(library.others)
    assert {other.name for other in library.others.values()} <= ours
    assert "post_isr_image" in ours


def test_reference_catalogue_is_read_as_the_table_that_tasks_expect(library: PipelineLibrary) -> None:
    types = {one.name: one for one in library.dataset_types()}
    assert types["the_monster_20250219"].storageClass_name == "SimpleCatalog"
    assert "reference_stars" not in types
