from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lsst.daf.butler import Butler, DatasetRef, DatasetType

from prompt_processing.activator.services.visit_outputs import VisitOutputs
from prompt_processing.butler.types import use_butler_types
from prompt_processing.images import Exposure

RUN = "output"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Butler]:
    use_butler_types()
    Butler.makeRepo(str(tmp_path / "repository"))
    with Butler.from_config(str(tmp_path / "repository"), run=RUN, writeable=True) as butler:
        yield butler


def new_ref(repository: Butler, name: str) -> DatasetRef:
    kind = DatasetType(name, (), "StructuredDataDict", universe=repository.dimensions)
    repository.registry.registerDatasetType(kind)
    return DatasetRef(kind, repository.registry.expandDataId({}), run=RUN)


def test_output_is_read_before_the_repository_has_it(repository: Butler) -> None:
    outputs, ref = VisitOutputs(repository), new_ref(repository, "counts")
    assert not outputs.stored(ref)
    counts = {"dia_sources": 3}
    outputs.put(counts, ref)
    assert outputs.get(ref) is counts
    assert outputs.getDeferred(ref).get() is counts
    assert outputs.stored(ref)
    assert not repository.stored(ref)


def test_outputs_are_the_repositorys_once_handed_over(repository: Butler) -> None:
    outputs = VisitOutputs(repository)
    refs = [new_ref(repository, name) for name in ("first", "second")]
    for number, ref in enumerate(refs):
        outputs.put({"number": number}, ref)
    outputs.hand_over()
    assert [repository.get(name)["number"] for name in ("first", "second")] == [0, 1]
    assert outputs.get(refs[1]) == {"number": 1}
    outputs.hand_over()


def test_inputs_are_the_repositorys(repository: Butler) -> None:
    outputs, ref = VisitOutputs(repository), new_ref(repository, "defects")
    repository.put({"columns": [4]}, ref)
    absent = new_ref(repository, "absent")
    assert outputs.get(ref) == {"columns": [4]}
    assert outputs.stored_many([ref, absent]) == {ref: True, absent: False}
    with pytest.raises(FileNotFoundError):
        outputs.get(absent)


def test_output_of_another_type_than_announced_is_refused(repository: Butler) -> None:
    with pytest.raises(TypeError):
        VisitOutputs(repository).put("three", new_ref(repository, "counts"))


def test_image_that_a_task_modified_on_loan_is_read_as_it_was_put(repository: Butler) -> None:
    kind = DatasetType("post_isr_image", (), "ExposureF", universe=repository.dimensions)
    repository.registry.registerDatasetType(kind)
    ref = DatasetRef(kind, repository.registry.expandDataId({}), run=RUN)
    outputs, image = VisitOutputs(repository), Exposure.blank((4, 6))
    outputs.put(image, ref)
    assert outputs.get(ref) is image
    assert image.loan is not None
    image.loan.restore = lambda: Exposure.blank((4, 6), metadata={"BUNIT": "electron"})
    image.image += 3
    assert outputs.get(ref).image.max() == 0
    assert outputs.get(ref).loan is None
    assert outputs.get(ref.makeComponentRef("metadata")) == {"BUNIT": "electron"}
