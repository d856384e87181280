"""The writer and a real repository: what others have written goes in."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from lsst.daf.butler import Butler, DatasetRef, DatasetType, FileDataset, SerializedDimensionRecord

from prompt_processing.butler.messages import VisitOutputs
from prompt_processing.butler_writer.central import CentralButler, RejectedOutputsError

NIGHT = "LSSTCam/prompt/output-2026-01-01"
RUN = "u/somebody/tests"
ABSENT = "lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("central")
    Butler.makeRepo(str(folder))
    return folder


@pytest.fixture
def butler(repository: Path) -> Iterator[Butler]:
    with Butler.from_config(str(repository), writeable=True) as butler:
        yield butler


def outputs(
    butler: Butler,
    run: str = RUN,
    formatter: str | None = ABSENT,
    storage_class: str = "StructuredDataDict",
) -> VisitOutputs:
    """A message with one dataset, whose file is there."""
    dimensions = butler.dimensions.conform(["instrument"])
    dataset_type = DatasetType(f"table_of_{storage_class}", dimensions, storage_class)
    record = butler.dimensions["instrument"].RecordClass(
        name="LSSTCam", visit_max=1, exposure_max=1, detector_max=1, class_name="lsst.obs.lsst.LsstCam"
    )
    ref = DatasetRef(dataset_type, record.dataId, run, id=uuid4())
    (root,) = butler.get_datastore_roots().values()
    assert root is not None
    path = f"{run}/{ref.id}.json"
    root.join(path).write(b"{}")
    return VisitOutputs(
        dimension_records=[record.to_simple()],
        datasets=[FileDataset(path, ref, formatter=formatter).to_simple()],
        dataset_types=[dataset_type.to_simple()],
    )


def recorded_formatters(repository: Path, message: VisitOutputs) -> set[str]:
    with sqlite3.connect(repository / "gen3.sqlite3") as database:
        rows = database.execute("SELECT path, formatter FROM file_datastore_records").fetchall()
    paths = {dataset.path for dataset in message.datasets}
    return {formatter for path, formatter in rows if path in paths}


@pytest.mark.parametrize("formatter", [ABSENT, "somebody.formatters._private.TableFormatter"])
def test_formatter_that_is_not_installed_is_recorded_by_its_name(
    repository: Path, butler: Butler, formatter: str
) -> None:
    message = outputs(butler, f"{RUN}/{formatter}", formatter)
    CentralButler(butler, 0.0).enter([message])
    assert recorded_formatters(repository, message) == {formatter}


def test_formatter_of_the_butler_is_recorded_and_reads_the_file(repository: Path, butler: Butler) -> None:
    formatter = "lsst.daf.butler.formatters.json.JsonFormatter"
    message = outputs(butler, f"{RUN}/json", formatter)
    CentralButler(butler, 0.0).enter([message])
    assert recorded_formatters(repository, message) == {formatter}
    with Butler.from_config(str(repository), collections=f"{RUN}/json") as reader:
        assert reader.get("table_of_StructuredDataDict", instrument="LSSTCam") == {}


def test_storage_class_that_is_not_installed_is_recorded_by_its_name(
    repository: Path, butler: Butler
) -> None:
    message = outputs(butler, storage_class="TableOfSomebody")
    CentralButler(butler, 0.0).enter([message])
    CentralButler(butler, 0.0).enter([message])
    with sqlite3.connect(repository / "gen3.sqlite3") as database:
        (found,) = database.execute(
            "SELECT storage_class FROM file_datastore_records WHERE path = ?", [message.datasets[0].path]
        )
    assert found == ("TableOfSomebody",)


@pytest.mark.parametrize(
    "formatter",
    [
        "lsst.daf.butler.formatters.pickle.PickleFormatter",
        "somebody.formatters.CloudPickle",
        "os",
        "os:system",
        "a..b",
        "",
        "x." * 200 + "x",
    ],
)
def test_formatter_that_no_reader_may_import_is_refused(butler: Butler, formatter: str) -> None:
    with pytest.raises(RejectedOutputsError, match=r"name of a formatter|run code"):
        CentralButler(butler, 0.0).enter([outputs(butler, f"{RUN}/refused", formatter)])


def test_any_run_is_accepted_by_default(butler: Butler) -> None:
    message = outputs(butler, "HSC/runs/any")
    CentralButler(butler, 0.0).enter([message])
    assert butler.get_dataset(next(iter(message.datasets[0].refs))) is not None


def test_run_outside_the_configured_pattern_is_left_behind(butler: Butler) -> None:
    central = CentralButler(butler, 0.0, re.compile("LSSTCam/prompt/.*"))
    with pytest.raises(RejectedOutputsError, match="OUTPUT_RUN_REGEXP"):
        central.enter([outputs(butler, "u/refused")])
    assert "u/refused" not in butler.collections.query("*")


def test_output_run_is_put_into_its_nights_chain_and_no_other_run_is(butler: Butler) -> None:
    run = f"{NIGHT}/ApPipe/pipelines-1234567-config-1234567"
    CentralButler(butler, 0.0).enter([outputs(butler, run), outputs(butler, f"{NIGHT}/own")])
    assert butler.collections.get_info(NIGHT).children == (run,)
    assert f"{NIGHT}/own" in butler.collections.query("*")


def test_record_has_the_type_of_the_file_where_the_repository_has_another(
    repository: Path, butler: Butler
) -> None:
    registered = outputs(butler, f"{RUN}/registered", storage_class="DataFrame")
    CentralButler(butler, 0.0).enter([registered])
    sent = outputs(butler, f"{RUN}/sent", storage_class="ArrowAstropy")
    name = registered.dataset_types[0].name
    message = sent.model_copy(
        update={
            "datasets": [
                one.model_copy(
                    update={
                        "refs": {
                            key: ref.model_copy(update={"dataset_type_name": name})
                            for key, ref in one.refs.items()
                        }
                    }
                )
                for one in sent.datasets
            ],
            "dataset_types": [one.model_copy(update={"name": name}) for one in sent.dataset_types],
        }
    )
    CentralButler(butler, 0.0).enter([message])
    with sqlite3.connect(repository / "gen3.sqlite3") as database:
        rows = dict(database.execute("SELECT path, storage_class FROM file_datastore_records").fetchall())
    assert rows[message.datasets[0].path] == "ArrowAstropy"


@pytest.mark.parametrize(
    ("element", "values"),
    [
        ("day_obs", {"id": 2**63}),
        ("day_obs", {"id": 20260101, "timespan": (0, 2**63)}),
        ("visit", {"id": 1, "name": "1", "region": "00"}),
        ("visit", {"id": 1, "name": "1", "region": "no number"}),
        ("detector", {"id": "three", "full_name": "R22_S11"}),
        ("detector", {"id": 3, "full_name": {"a": 1}}),
        ("nothing", {"id": 1}),
    ],
)
def test_record_with_a_value_that_no_column_takes_is_refused(
    butler: Butler, element: str, values: dict[str, Any]
) -> None:
    message = outputs(butler, f"{RUN}/records")
    record = SerializedDimensionRecord.model_construct(
        definition=element, record={"instrument": "LSSTCam", **values}
    )
    damaged = message.model_copy(update={"dimension_records": [*message.dimension_records, record]})
    with pytest.raises(RejectedOutputsError):
        CentralButler(butler, 0.0).enter([damaged])
