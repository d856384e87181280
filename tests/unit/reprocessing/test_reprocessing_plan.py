"""A night is processed again in order, without alerts, and into an APDB of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.pipe.base import Pipeline

from prompt_processing.apdb.administration import create, same_database
from prompt_processing.butler.field_types import field_type
from prompt_processing.butler.types import use_butler_types
from prompt_processing.reprocessing.errors import ReprocessingError
from prompt_processing.reprocessing.pipeline import default_pipelines, write_pipeline
from prompt_processing.reprocessing.visits import NightVisit, waves

use_butler_types()


def visit(number: int, place: float) -> NightVisit:
    """A visit at a place on a great circle, radians."""
    import math

    return NightVisit(number, float(number), (math.cos(place), math.sin(place), 0.0), 0.03)


def ids(groups: list[list[NightVisit]]) -> list[list[int]]:
    return [[one.visit for one in group] for group in groups]


def test_visits_of_a_field_follow_each_other_and_others_go_together() -> None:
    night = [visit(5, 0.0), visit(3, 1.0), visit(2, 0.01), visit(4, 1.0), visit(1, 2.0)]
    assert ids(waves(night)) == [[1, 2, 3], [4, 5]]


def test_visit_waits_for_an_earlier_one_that_touches_a_later_group() -> None:
    # 1 and 2 overlap, 2 and 3 overlap, 1 and 3 do not.
    assert ids(waves([visit(1, 0.0), visit(2, 0.05), visit(3, 0.10)])) == [[1], [2], [3]]
    assert waves([]) == []


@pytest.mark.parametrize("instrument", ["LSSTCam", "HSC", "LATISS"])
def test_pipeline_preloads_uses_its_own_apdb_and_sends_nothing(instrument: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    labels = write_pipeline(path, default_pipelines(instrument), "/work/apdb.yaml")
    assert {"loadDiaCatalogs", "isr", "associateApdb"} <= set(labels)
    graph = Pipeline.fromFile(str(path)).to_graph()
    assert graph.tasks["associateApdb"].config.apdb_config_uri == "/work/apdb.yaml"
    assert graph.tasks["loadDiaCatalogs"].config.apdb_config_uri == "/work/apdb.yaml"
    assert graph.tasks["associateApdb"].config.produce_alerts is False
    # Their inputs are what the preloading makes now, not what it made at night.
    assert graph.producer_of("preloaded_dia_object") is not None


def test_pipelines_with_the_same_task_are_refused(tmp_path: Path) -> None:
    main = default_pipelines("LSSTCam")[1]
    with pytest.raises(ReprocessingError, match="of another pipeline"):
        write_pipeline(tmp_path / "pipeline.yaml", (main, main), "apdb.yaml")


@pytest.mark.parametrize("instrument", ["LSSTCam", "HSC", "LATISS"])
def test_no_task_reads_a_component_that_images_of_central_repositories_lack(instrument: str) -> None:
    # `prompt run` works on repositories that have the outputs of earlier runs under the field's types.
    for name in default_pipelines(instrument):
        graph = Pipeline.fromFile(name).to_graph()
        for task in graph.tasks.values():
            for edge in task.iter_all_inputs():
                if edge.component is not None:
                    own = graph.dataset_types[edge.parent_dataset_type_name].dataset_type
                    assert edge.component in field_type(own).storageClass.allComponents(), edge


def test_same_database_is_recognised_under_another_configuration(tmp_path: Path) -> None:
    for name in ("one", "two"):
        create(f"sqlite:///{tmp_path}/{name}.db", str(tmp_path / f"{name}.yaml"))
    copy = tmp_path / "copy.yaml"
    copy.write_text((tmp_path / "one.yaml").read_text())
    assert same_database(str(tmp_path / "one.yaml"), str(copy))
    assert not same_database(str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml"))
