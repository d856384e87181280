"""Our pipelines on the dataset types that the reference stack has registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from lsst.daf.butler import DatasetType, DimensionUniverse

from prompt_processing.butler.pipelines.files import PipelineError
from prompt_processing.butler.pipelines.library import PipelineLibrary
from prompt_processing.butler.recorded_storage_classes import know_storage_classes

FACTS = yaml.safe_load((Path(__file__).parent / "registered_types.yaml").read_text())
PIPELINES = Path(__file__).parents[2] / "pipelines" / "LSSTCam"
NAMES = {"reference_stars": "the_monster_20250219"}


def registered(**storage_classes: str) -> dict[str, DatasetType]:
    return {
        name: DatasetType(
            name,
            about["dimensions"],
            storage_classes.get(name, about["storage_class"]),
            isCalibration=about.get("calibration", False),
            universe=DimensionUniverse(),
        )
        for name, about in FACTS.items()
    }


def library_of(dataset_types: Mapping[str, DatasetType], *stems: str) -> PipelineLibrary:
    paths = [str(PIPELINES / f"{stem}.yaml") for stem in stems]
    return PipelineLibrary(paths, dataset_types, DimensionUniverse(), NAMES)


@pytest.fixture(scope="module")
def library() -> PipelineLibrary:
    return library_of(registered(), *(path.stem for path in sorted(PIPELINES.glob("*.yaml"))))


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


def test_storage_classes_of_a_newer_stack_stop_only_what_needs_them() -> None:
    newer = dict.fromkeys(("post_isr_image", "dia_source_unfiltered", "cti", "linearizer"), "NewerThing")
    library = library_of(registered(**newer), "Isr", "SingleFrame")
    assert library.others["post_isr_image"].name == "prompt_post_isr_image"
    assert {name: one.theirs for name, one in library.unread.items()} == dict.fromkeys(
        ("cti", "linearizer"), "NewerThing"
    )
    inputs = {one.name for pipeline in library for one, _ in pipeline.inputs()}
    assert {"prompt_cti", "prompt_linearizer", "ptc", "bias"} <= inputs
    assert {"cti", "linearizer"}.isdisjoint(inputs)


def test_input_that_a_task_needs_is_named_where_its_storage_class_is_unknown() -> None:
    dataset_types = registered(flat="StillNewerThing")
    know_storage_classes(one.storageClass_name for one in dataset_types.values())
    with pytest.raises(PipelineError, match=r"Isr\.yaml is unusable: .*'flat'.*StillNewerThing"):
        library_of(dataset_types, "Isr")


def test_optional_input_of_another_kind_is_left_out() -> None:
    library = library_of(registered(cti="StructuredDataDict"), "Isr")
    assert str(library.unread["cti"]).startswith("it has StructuredDataDict, which is not read as IsrCalib")
