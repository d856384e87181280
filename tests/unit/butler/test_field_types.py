"""Types and formatters under which others know our files."""

from __future__ import annotations

from uuid import uuid4

import pytest
from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType, DimensionUniverse, FileDataset

from prompt_processing.butler.field_types import (
    FIELD_FORMATTER,
    field_dataset,
    field_type,
    own_record,
    own_ref,
)
from prompt_processing.butler.formatters import OWN_FORMATTERS
from prompt_processing.butler.pipelines.output_names import fits

UNIVERSE = DimensionUniverse()
OURS = "prompt_processing.butler.formatters.ExposureFormatter"
PARQUET = "lsst.daf.butler.formatters.parquet.ParquetFormatter"


def a_type(name: str, storage_class: str, *, calibration: bool = False) -> DatasetType:
    dimensions = ("instrument", "detector") if calibration else ("instrument", "visit", "detector")
    return DatasetType(name, dimensions, storage_class, universe=UNIVERSE, isCalibration=calibration)


def a_ref(dataset_type: DatasetType) -> DatasetRef:
    values = {"instrument": "LSSTCam", "visit": 5, "detector": 94, "physical_filter": "r", "band": "r"}
    return DatasetRef(
        dataset_type,
        DataCoordinate.standardize({**values, "day_obs": 20250609}, dimensions=dataset_type.dimensions),
        "run",
        id=uuid4(),
    )


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("preliminary_visit_image", "ExposureF", "VisitImage"),
        ("difference_image", "ExposureF", "DifferenceImage"),
        ("template_matched", "ExposureF", "DifferenceImage"),
        ("post_isr_image", "ExposureF", "MaskedImageV2"),
        ("difference_kernel", "MatchingKernel", "ConvolutionKernel"),
        ("background", "Background", "BackgroundMap"),
        ("calibration", "PhotoCalib", "ImageField"),
        ("dia_source_apdb", "DataFrame", "ArrowAstropy"),
        ("single_visit_star", "ArrowAstropy", "ArrowAstropy"),
        ("isr_metadata", "TaskMetadata", "TaskMetadata"),
    ],
)
def test_output_has_a_type_that_others_have(name: str, ours: str, theirs: str) -> None:
    assert field_type(a_type(name, ours)).storageClass_name == theirs


def test_inputs_keep_their_types() -> None:
    bias = a_type("bias", "ExposureF", calibration=True)
    assert field_type(bias) is bias


@pytest.mark.parametrize(
    ("registered", "recorded"),
    [
        (None, "VisitImage"),
        ("VisitImage", "VisitImage"),
        ("ExposureF", "VisitImage"),
        ("Exposure", "Exposure"),
    ],
)
def test_record_has_the_type_of_the_file_if_that_converts_to_the_registered_one(
    registered: str | None, recorded: str
) -> None:
    name = "preliminary_visit_image"
    known = {} if registered is None else {name: a_type(name, registered)}
    ref = a_ref(a_type(name, "ExposureF"))
    sent = field_dataset(FileDataset("a.fits", ref, formatter=OURS), OWN_FORMATTERS, known)
    assert sent.to_simple().formatter == FIELD_FORMATTER
    assert sent.refs[0].datasetType.storageClass_name == recorded
    assert sent.refs[0].id == ref.id


def test_table_keeps_the_formatter_of_the_middleware() -> None:
    ref = a_ref(a_type("single_visit_star", "ArrowAstropy"))
    sent = field_dataset(FileDataset("a.parq", ref, formatter=PARQUET), OWN_FORMATTERS)
    assert sent.to_simple().formatter == PARQUET


def test_worker_reads_images_of_others_with_its_own_reader() -> None:
    assert own_record("VisitImage", FIELD_FORMATTER) == ("ExposureF", OURS)
    assert own_record("ArrowAstropy", PARQUET) == ("ArrowAstropy", PARQUET)
    assert own_record("CellCoadd", FIELD_FORMATTER) == ("ExposureF", OURS)
    # Of a type without counterpart here, even in the same layout.
    assert own_record("ColorImage", FIELD_FORMATTER) == ("ColorImage", FIELD_FORMATTER)
    assert own_ref(a_ref(a_type("x", "DifferenceImage"))).datasetType.storageClass_name == "ExposureF"


@pytest.mark.parametrize(
    ("name", "registered", "expected"),
    [
        ("preliminary_visit_image", "ExposureF", True),
        ("preliminary_visit_image", "Exposure", True),
        ("difference_image", "VisitImage", True),
        ("preliminary_visit_image", "DifferenceImage", False),
        ("post_isr_image", "Exposure", True),
        ("post_isr_image", "ExposureF", False),
        ("post_isr_image", "VisitImage", False),
        ("difference_image", "MaskedImageV2", True),
    ],
)
def test_image_has_a_registered_type_only_if_its_file_is_read_as_such(
    name: str, registered: str, *, expected: bool
) -> None:
    assert fits(a_type(name, "ExposureF"), a_type(name, registered)) is expected
