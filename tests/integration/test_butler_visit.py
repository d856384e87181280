"""A visit through the repositories of one worker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import butler_world as world
import pytest
from butler_fixtures import Worker
from central_exports import central, exported, exported_refs, provenance
from lsst.daf.butler import Butler, Timespan
from lsst.images import DifferenceImage, MaskedImage, VisitImage
from lsst.pipe.base.quantum_graph import ProvenanceQuantumGraphWriter
from lsst.sphgeom import ConvexPolygon

from prompt_processing.butler import formatters
from prompt_processing.domain.errors import IgnorableVisitError, NonRetriableError
from prompt_processing.images import Exposure
from prompt_processing.images.fits import write_exposure
from prompt_processing.images.layout.identity import Identity

pytestmark = pytest.mark.integration

OUTPUTS = {"regionTimeInfo", "promptPreload_metrics", "preloaded_dia_object", "post_isr_image"} | {
    "preliminary_visit_image",
    "template_detector",
}


def test_visit_goes_from_preload_to_export(butler_worker: Worker, central_folder: Path) -> None:
    result, n_exported = butler_worker.process()

    assert result.pipeline == "ApPipe"
    assert set(result.seconds) == {"isr", "calibrateImage", "buildTemplate"}
    # The bias that is valid now, stars of the field and not of the other end of the sky, overlapping patches.
    assert result.metadata["isr"]["isr"]["level"] == 1.0
    assert result.metadata["calibrateImage"]["calibrateImage"]["stars"] == 1
    assert result.metadata["buildTemplate"]["buildTemplate"]["coadds"] >= 1
    assert exported(central_folder) >= OUTPUTS
    assert n_exported == len(exported_refs(central_folder))
    assert butler_worker.local_datasets().isdisjoint(OUTPUTS | {"raw"})


def test_each_output_has_its_provenance(butler_worker: Worker, central_folder: Path) -> None:
    butler_worker.process()
    graph = provenance(central_folder, "ApPipe").bipartite_xgraph
    outputs = [ref for ref in exported_refs(central_folder) if "/ApPipe/" in ref.run]
    assert len(outputs) > 3
    for ref in outputs:
        if ref.datasetType.name != "prompt_provenance":
            (producer,) = graph.predecessors(ref.id)
            assert graph.nodes[ref.id]["produced"]
            assert graph.nodes[producer]["task_label"] in {"isr", "calibrateImage", "buildTemplate"}
    # The field's own formatter: others can read it.
    (ref,) = (one for one in outputs if one.datasetType.name == "prompt_provenance")
    with central(central_folder) as butler:
        (dataset,) = butler._datastore.export([ref])  # type: ignore[attr-defined]
    assert str(dataset.formatter).startswith("lsst.pipe.base.")


def test_outputs_survive_the_loss_of_their_provenance(
    butler_worker: Worker, central_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: ProvenanceQuantumGraphWriter) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ProvenanceQuantumGraphWriter, "write_packages", full_disk)
    butler_worker.process()
    assert exported(central_folder) >= OUTPUTS
    assert "prompt_provenance" not in exported(central_folder)


def test_exported_image_and_its_records_can_be_read(butler_worker: Worker, central_folder: Path) -> None:
    butler_worker.process()
    data_id = {"instrument": "LSSTCam", "visit": world.EXPOSURE, "detector": world.DETECTOR}
    with central(central_folder) as butler:
        (chain,) = butler.collections.query("LSSTCam/prompt/output-????-??-??")
        image = butler.get("preliminary_visit_image", data_id, collections=chain)
        (visit,) = butler.query_dimension_records("visit", instrument="LSSTCam", visit=world.EXPOSURE)
        (footprint,) = butler.query_dimension_records("visit_detector_region", data_id=data_id)
        (exposure,) = butler.query_dimension_records(
            "exposure", instrument="LSSTCam", exposure=world.EXPOSURE
        )
        (definition,) = butler.query_dimension_records("visit_definition", data_id=data_id)
        systems = butler.query_dimension_records("visit_system_membership", data_id=data_id)
        (day,) = butler.query_dimension_records("day_obs", instrument="LSSTCam", day_obs=20250609)
    assert image.bbox.shape == (64, 256)
    assert visit.physical_filter == world.FILTER
    assert visit.region.contains(footprint.region)
    assert isinstance(footprint.region, ConvexPolygon)
    assert exposure.group == f"group {world.EXPOSURE}"
    assert definition.exposure == world.EXPOSURE
    assert {record.visit_system for record in systems} == {0, 2}
    assert day.timespan.begin.isot.startswith("2025-06-09T12:00:00")


def test_image_that_a_task_hands_on_is_exported_under_each_name_in_its_type(
    butler_worker: Worker, central_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def write(path: str, exposure: Exposure, identity: Identity) -> None:
        written.append(path)
        write_exposure(path, exposure, identity)

    monkeypatch.setattr(formatters, "write_exposure", write)
    butler_worker.process()
    # In this pipeline the image with its instrument's signature removed goes through all tasks as it is.
    names = ["post_isr_image", "preliminary_visit_image", "template_detector"]
    with central(central_folder) as butler:
        refs = [
            ref for ref in butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)
            if ref.datasetType.name in names
        ]  # fmt: skip
        assert sorted(ref.datasetType.name for ref in refs) == names
        files = [butler.getURI(ref) for ref in refs]
        assert len({file.path for file in files}) == len(written) == 3
        images = {ref.datasetType.name: butler.get(ref) for ref in refs}
    assert {name: type(image) for name, image in images.items()} == {
        "post_isr_image": MaskedImage,
        "preliminary_visit_image": VisitImage,
        "template_detector": DifferenceImage,
    }
    assert all(image.bbox.shape == (64, 256) for image in images.values())
    assert butler_worker.local_datasets().isdisjoint(names)


def test_second_visit_finds_calibrations_in_cache(butler_worker: Worker) -> None:
    butler_worker.process()
    workspace = butler_worker.begin(groupId="second")
    workspace.preload()
    assert workspace.preloaded.copied == 0
    assert workspace.preloaded.count("bias") == 1
    workspace.clean()
    result, _ = butler_worker.process(exposure=world.EXPOSURE + 1)
    assert result.pipeline == "ApPipe"


def test_calibrations_are_in_memory_before_the_image_comes(butler_worker: Worker) -> None:
    memory, _ = butler_worker.repositories.local.butler._datastore.datastores  # type: ignore[attr-defined]
    used = {}
    for physical_filter in (world.FILTER, "g_6"):
        workspace = butler_worker.begin(filters=physical_filter)
        workspace.preload()
        used[physical_filter] = {
            ref.datasetType.name: ref
            for ref in workspace.preloaded.refs
            if ref.datasetType.name in ("bias", "flat")
        }
        assert all(memory.exists(ref) for ref in used[physical_filter].values())
        workspace.clean()
    # What only the visit before needed is let go.
    assert not memory.exists(used[world.FILTER]["flat"])


def test_cache_keeps_no_more_flats_than_configured(open_butler_worker: Callable[..., Worker]) -> None:
    butler_worker = open_butler_worker(local_repo_cache_size=1)
    for physical_filter in (world.FILTER, "g_6", world.FILTER):
        workspace = butler_worker.begin(filters=physical_filter)
        workspace.preload()
        assert "flat" in {ref.datasetType.name for ref in workspace.preloaded.refs}
        workspace.clean()
        butler = butler_worker.repositories.local.butler
        flats = butler.query_datasets("flat", "LSSTCam/calib/*", find_first=False)
        assert [ref.dataId["physical_filter"] for ref in flats] == [physical_filter]
    # The one that was dropped and came back is still certified.
    result, _ = butler_worker.process()
    assert result.pipeline == "ApPipe"


def test_bias_of_the_time_of_the_visit_is_used(butler_worker: Worker) -> None:
    early = butler_worker.begin(startTime=world.START.unix_tai - 30 * 86400)
    early.preload()
    early.clean()
    now = butler_worker.begin()
    now.preload()
    now.clean()
    (early_bias,) = (ref for ref in early.preloaded.refs if ref.datasetType.name == "bias")
    (bias,) = (ref for ref in now.preloaded.refs if ref.datasetType.name == "bias")
    assert early_bias.run.endswith("/any")
    assert bias.run.endswith("/20250531T030000")
    result, _ = butler_worker.process()
    assert result.metadata["isr"]["isr"]["level"] == 1.0


def test_without_templates_single_frame_runs(butler_worker: Worker, central_folder: Path) -> None:
    with Butler.from_config(str(central_folder / "central"), writeable=True) as butler:
        butler.collections.redefine_chain("LSSTCam/templates", [])
    result, _ = butler_worker.process()
    assert result.pipeline == "SingleFrame"
    assert "template_detector" not in exported(central_folder)


def test_without_reference_stars_isr_runs(butler_worker: Worker, central_folder: Path) -> None:
    with Butler.from_config(str(central_folder / "central"), writeable=True) as butler:
        butler.collections.redefine_chain("refcats", [])
    result, _ = butler_worker.process()
    assert result.pipeline == "Isr"


def test_without_calibrations_nothing_can_be_built(butler_worker: Worker, central_folder: Path) -> None:
    with Butler.from_config(str(central_folder / "central"), writeable=True) as butler:
        butler.collections.redefine_chain("LSSTCam/calib", [])
    with pytest.raises(NonRetriableError, match=r"can be built.* lacks bias, camera, flat") as caught:
        butler_worker.process()
    assert caught.value.retry == "useless"


def test_visit_without_position_gets_no_spatial_datasets(butler_worker: Worker) -> None:
    workspace = butler_worker.begin(coordinateSystem=1, position=None, rotationSystem=1)
    workspace.preload()
    assert workspace.preloaded.count("bias") == 1
    assert workspace.preloaded.count("template_coadd") == workspace.preloaded.count("reference_stars") == 0
    workspace.run_preprocessing()
    assert workspace.ingest([butler_worker.raw()]) == (world.EXPOSURE,)
    assert workspace.run_pipeline().pipeline == "Isr"
    workspace.clean()


def test_visit_without_filter_gets_flats_of_all(butler_worker: Worker) -> None:
    workspace = butler_worker.begin(filters="")
    workspace.preload()
    assert workspace.preloaded.count("flat") == 2
    assert workspace.preloaded.count("template_coadd") == 0
    workspace.clean()


def test_camera_that_is_in_its_run_only_is_found(
    open_butler_worker: Callable[..., Worker], central_folder: Path
) -> None:
    """As in repositories of the reference stack."""
    with Butler.from_config(str(central_folder / "central"), writeable=True) as butler:
        for found in butler.registry.queryDatasetAssociations(
            "camera", ["LSSTCam/calib"], flattenChains=True
        ):
            if found.collection != found.ref.run:
                butler.registry.decertify(found.collection, "camera", Timespan(None, None))
    assert open_butler_worker().process()[0].pipeline == "ApPipe"


def test_pipeline_whose_file_is_missing_makes_way_for_the_next(
    open_butler_worker: Callable[..., Worker], central_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, gone = central_folder / "pipelines" / "SingleFrame.yaml", central_folder / "Isr-cal.yaml"
    with caplog.at_level(logging.ERROR):
        butler_worker = open_butler_worker(
            preprocessing_pipelines_config=f"- pipelines: [{gone}]",
            main_pipelines_config=f"- pipelines: [{gone}, {good}]\n  survey: {world.make_visit().survey}\n"
            f"- pipelines: [{gone}]",
        )
    assert any(str(gone) in message for message in caplog.messages)
    result, _ = butler_worker.process()
    assert result.pipeline == "SingleFrame"
    with pytest.raises(NonRetriableError, match=f"no file {gone}"):
        butler_worker.process(survey="another", exposure=world.EXPOSURE + 1)


def test_outputs_are_known_without_asking_the_repository(
    butler_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queries, one for each dataset type, took half a second of each visit."""
    workspace = butler_worker.begin()
    local = butler_worker.repositories.local
    workspace.preload()
    workspace.run_preprocessing()
    workspace.ingest([butler_worker.raw()])
    workspace.run_pipeline()
    runs = [*workspace.runs.values(), local.collections.raw]
    stored = {(ref, ref.dataId.hasRecords()) for ref in local.datasets(runs) if "detector" in ref.dimensions}
    known = workspace._entered.of_runs(runs)
    assert {(ref, ref.dataId.hasRecords()) for ref in known} == stored
    assert {ref.datasetType for ref in known} == {ref.datasetType for ref, _ in stored}
    monkeypatch.setattr(local, "datasets", None)
    assert workspace.export() > 0
    workspace.clean()
    monkeypatch.undo()
    assert not [ref for ref in local.datasets(runs) if "detector" in ref.dimensions]


def test_duplicate_visit_is_not_exported_again(butler_worker: Worker, central_folder: Path) -> None:
    butler_worker.process()
    with central(central_folder) as butler:
        before = {ref.id for ref in butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)}
    with pytest.raises(NonRetriableError, match="already"):
        butler_worker.process()
    with central(central_folder) as butler:
        after = {ref.id for ref in butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)}
    assert after == before


def test_only_types_that_match_are_exported(
    open_butler_worker: Callable[..., Worker],
    central_folder: Path,
) -> None:
    butler_worker = open_butler_worker(export_type_regexp="[template_.*, '.*_metadata']")
    butler_worker.process()
    types = exported(central_folder)
    assert "template_detector" in types
    assert "isr_metadata" in types
    assert types.isdisjoint({"preliminary_visit_image", "buildTemplate_log", "post_isr_image"})


def test_nothing_is_exported_if_so_configured(
    open_butler_worker: Callable[..., Worker],
    central_folder: Path,
) -> None:
    butler_worker = open_butler_worker(debug_export_outputs=False)
    _, n_exported = butler_worker.process()
    assert n_exported == 0
    assert exported(central_folder) == set()


def test_nothing_runs_if_so_configured(open_butler_worker: Callable[..., Worker]) -> None:
    butler_worker = open_butler_worker(main_pipelines_config="None", preprocessing_pipelines_config="[]")
    workspace = butler_worker.begin()
    workspace.preload()
    workspace.run_preprocessing()
    with pytest.raises(IgnorableVisitError):
        workspace.run_pipeline()
    workspace.clean()
