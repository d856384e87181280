"""Figures of a collection: kinds, places, files and summaries."""

from __future__ import annotations

import gzip
import json
import math
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plot_repository as world
import pytest
from lsst.daf.butler import Butler
from sqlalchemy import Engine, event

from prompt_processing.cli.main import run
from prompt_processing.repository.plots import find
from prompt_processing.repository.plots.kinds import (
    PatternError,
    PlotKind,
    PlotRef,
    matching,
    place_text,
    read_place,
)
from prompt_processing.repository.plots.metrics import (
    MetricValue,
    metric_differences,
    metrics_at,
    parse_bundle,
)
from prompt_processing.repository.plots.summary import (
    SummaryError,
    places_in,
    plots_in,
    read_summary,
    summary_path,
    write_summary,
)

CAMERA = {"instrument": world.INSTRUMENT}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = world.make_repository(tmp_path_factory.mktemp("plots") / "repo")
    with Butler.from_config(repo, writeable=True) as butler:
        for visit in world.VISITS[:2]:
            world.put_plot(butler, "seeing_plot", "u/a", **CAMERA, visit=visit)
            for detector in world.DETECTORS:
                world.put_plot(butler, "psf_plot", "u/a", **CAMERA, visit=visit, detector=detector)
        world.put_plot(butler, "kernel_plot", "u/a", **CAMERA, visit=world.VISITS[0], detector=94)
        world.put_plot(butler, "flat_plot", "u/a", **CAMERA, detector=94)
        world.put_plot(butler, "depth_plot", "u/a", skymap=world.SKYMAP, tract=7, band="r")
        world.put_plot(butler, "depth_plot", "u/a", skymap=world.SKYMAP, tract=7, band="i")
        world.put_plot(butler, "summary_plot", "u/a")
        world.put_plot(butler, "psf_plot", "u/b", **CAMERA, visit=world.VISITS[2], detector=94)
        world.put(butler, "numbers", CAMERA, "StructuredDataDict", {"a": 1}, "u/none", **CAMERA)
    return repo


@pytest.fixture
def butler(repository: Path) -> Iterator[Butler]:
    with Butler.from_config(repository, writeable=False) as butler:
        yield butler


def kinds_of(butler: Butler, collection: str = "u/a") -> dict[str, PlotKind]:
    return {one.name: one for one in find.collection_content(butler, collection).kinds}


def test_only_collections_with_figures_are_listed(butler: Butler) -> None:
    assert find.collections_with_plots(butler) == ["u/a", "u/b"]
    content = find.collection_content(butler, "u/a")
    assert content.instruments == (world.INSTRUMENT,)
    assert content.skymaps == (world.SKYMAP,)
    with pytest.raises(LookupError, match="u/absent"):
        find.collection_content(butler, "u/absent")


def test_a_kind_is_listed_by_what_it_is_of(butler: Butler) -> None:
    assert {name: kind.tab for name, kind in kinds_of(butler).items()} == {
        "seeing_plot": "visit", "psf_plot": "detector", "kernel_plot": "detector", "flat_plot": "detector",
        "depth_plot": "tract", "summary_plot": "global",
    }  # fmt: skip


def test_later_visits_come_first_and_each_place_has_its_figures(butler: Butler) -> None:
    kinds = kinds_of(butler)
    chosen = [kinds["kernel_plot"], kinds["psf_plot"]]
    places = find.places_of(butler, "u/a", chosen, world.INSTRUMENT)
    assert [place_text(one) for one in places] == [
        f"instrument=LSSTCam,visit={visit},detector={detector}"
        for visit in reversed(world.VISITS[:2])
        for detector in world.DETECTORS
    ]
    found = find.plots_at(butler, "u/a", chosen, places[2], world.INSTRUMENT)
    assert [one.kind for one in found] == ["kernel_plot", "psf_plot"]
    # Tracts have one figure a band.
    (tract,) = find.places_of(butler, "u/a", [kinds["depth_plot"]])
    assert [
        dict(one.data_id)["band"] for one in find.plots_at(butler, "u/a", [kinds["depth_plot"]], tract)
    ] == [
        "i",
        "r",
    ]
    assert len(find.plots_at(butler, "u/a", [kinds["summary_plot"]], ())) == 1
    assert find.places_of(butler, "u/a", chosen, "HSC") == []


def test_no_answer_grows_with_the_collection(butler: Butler) -> None:
    kinds = kinds_of(butler)
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert len(find.places_of(butler, "u/a", [kinds["psf_plot"]], world.INSTRUMENT, most=3)) == 3
        assert sum("LIMIT" in one for one in statements) == 1
        assert len(statements) < 10
        # Of many kinds, only some are asked for their places.
        statements.clear()
        find.places_of(butler, "u/a", [kinds["psf_plot"]] * 50, world.INSTRUMENT)
        assert sum("LIMIT" in one for one in statements) == find.MOST_KINDS_FOR_PLACES
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_the_file_of_a_figure_is_read_where_get_fails(butler: Butler) -> None:
    kinds = kinds_of(butler)
    (ref,) = find.plots_at(butler, "u/a", [kinds["summary_plot"]], ())
    content, media_type = find.read_plot(butler, ref)
    assert media_type == "image/png"
    assert content.startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="could not read"):
        butler.get("summary_plot", collections="u/a")


def test_a_dataset_that_is_no_figure_is_not_read(butler: Butler) -> None:
    (number,) = butler.query_datasets("numbers", "u/none")
    for id_ in (number.id, uuid.uuid4()):
        with pytest.raises(find.NoSuchPlotError):
            find.read_plot(butler, PlotRef("numbers", (), id_))


@pytest.mark.parametrize(
    "content", [b"", b"<html><script>alert(1)</script>", b"%PDF-1.4", b"<?xml version='1.0'?><html/>"]
)
def test_only_pictures_are_shown(content: bytes) -> None:
    with pytest.raises(find.NoSuchPlotError, match="not a picture"):
        find.picture_type(content, "some_plot")


def test_metrics_of_two_collections_are_compared(repository: Path, tmp_path: Path) -> None:
    values = {
        "u/a": {"seeing": 0.8, "nStars": 0.0, "depth": 24.0},
        "u/b": {"seeing": 1.0, "nStars": 5.0, "sky": 3.0},
    }
    place = (("instrument", world.INSTRUMENT), ("visit", world.VISITS[0]), ("detector", 94))
    found = []
    for run_, metrics in values.items():
        bundle = {
            "alertProduction": [
                {"metric": name, "value": value, "unit": "arcsec" if name == "seeing" else ""}
                for name, value in metrics.items()
            ]
        }
        with Butler.from_config(repository, writeable=True) as writer:
            world.put(writer, "quality", dict(place), "MetricMeasurementBundle", bundle, run_, **dict(place))
            kinds = find.collection_content(writer, run_).metrics
            assert find.places_of(writer, run_, kinds) == [place]
            found.append(metrics_at(writer, run_, kinds, place))
    assert found[0]["quality: seeing"] == MetricValue(0.8, "arcsec")
    differences = metric_differences(*found)
    assert [one.name for one in differences] == [
        "quality: nStars",
        "quality: seeing",
        "quality: depth",
        "quality: sky",
    ]
    assert differences[1].difference == pytest.approx(0.2)
    assert differences[1].share == pytest.approx(0.25)
    assert math.isnan(differences[3].first)


def test_metrics_of_the_stack_are_read_without_it() -> None:
    bundle = {
        "dataset_identifier": "x",
        "action": [
            {"metric": "a", "identifier": "i", "quantity": 1.5, "unit": None},
            {"metric": "b", "value": "text", "unit": ""},
            {"metric": "c", "value": True, "unit": ""},
        ],
    }
    assert parse_bundle(json.dumps(bundle).encode(), "x") == {"a": MetricValue(1.5, "")}
    for damaged in (b"", b"[1]", b'{"a": [1]}', b'{"a": [{"value": 1}]}'):
        with pytest.raises(LookupError, match="some_metrics"):
            parse_bundle(damaged, "some_metrics")


def test_the_registry_cannot_be_written(butler: Butler) -> None:
    with pytest.raises(Exception, match="read-only"):
        butler.collections.register("u/new")


def test_patterns_are_found_in_linear_time() -> None:
    names = ["psf_plot", "Seeing_plot", "a" * 200 + "!"]
    assert matching(names, "") == names
    assert matching(names, "^seeing|PSF") == names[:2]
    began = time.process_time()
    # Engines that backtrack need longer than the age of the universe.
    assert matching(names, "(a+)+$") == []
    assert matching(names, "(a|a|aa)*b") == []
    assert time.process_time() - began < 5


@pytest.mark.parametrize("pattern", ["(", "a{999999}", "(?=x)", "x" * 201, "\ud800"])
def test_a_wrong_pattern_says_why(pattern: str) -> None:
    with pytest.raises(PatternError):
        matching(["psf_plot"], pattern)


def test_places_are_read_as_written() -> None:
    place = (("instrument", "HSC"), ("visit", 12), ("detector", 3))
    assert read_place(place_text(place)) == place
    assert read_place("") == ()
    for wrong in ("visit", "visit=x", "visit=-1", "visit=1 OR 1=1", "band=r", "visit=" + "9" * 30, "x" * 400):
        with pytest.raises(ValueError, match=r"place|number"):
            read_place(wrong)


def test_a_summary_gives_the_same_answers_as_the_registry(butler: Butler, tmp_path: Path) -> None:
    path, n_plots = write_summary(butler, "main", "u/a", str(tmp_path))
    assert n_plots == 11
    assert Path(path.ospath) == tmp_path / "main" / "collection_u%2Fa.json.gz"
    sections = json.loads(gzip.decompress(path.read()))
    assert set(sections) == {"tracts", "visits", "global"}
    assert set(sections["visits"]) == {"seeing_plot", "psf_plot", "kernel_plot", "flat_plot"}
    (entry,) = sections["visits"]["flat_plot"]
    assert json.loads(entry["dataId"]) == {"instrument": "LSSTCam", "detector": 94}
    kinds = kinds_of(butler)
    summary = read_summary(path, kinds.values())
    assert summary is not None
    assert summary.n_plots == 11
    for names in (
        ["kernel_plot", "psf_plot"],
        ["flat_plot"],
        ["seeing_plot"],
        ["depth_plot"],
        ["summary_plot"],
    ):
        chosen = [kinds[name] for name in names]
        places = find.places_of(butler, "u/a", chosen, world.INSTRUMENT, world.SKYMAP)
        assert places_in(summary, chosen, world.INSTRUMENT, world.SKYMAP) == places
        for place in places:
            asked = find.plots_at(butler, "u/a", chosen, place, world.INSTRUMENT, world.SKYMAP)
            kept = plots_in(summary, chosen, place, world.INSTRUMENT, world.SKYMAP)
            assert [(one.key, one.id) for one in kept] == [(one.key, one.id) for one in asked]


@pytest.mark.parametrize("name", ["/etc", "../../up", "a b", "a%2Fb", "ä"])
def test_a_summary_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    path = Path(summary_path(str(tmp_path), name, name).ospath)
    assert path.parent.parent == tmp_path
    assert "/" not in path.name
    assert ".." not in path.relative_to(tmp_path).parts


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_summary_needs_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="names"):
        summary_path(str(tmp_path), name, "u/a")


def test_a_damaged_summary_is_named(tmp_path: Path) -> None:
    path = summary_path(str(tmp_path), "main", "u/a")
    assert read_summary(path, ()) is None
    path.parent().mkdir()
    kind = PlotKind("psf_plot", ("visit", "detector"), ("instrument",))
    for content in (b"{", gzip.compress(b"[1]"), gzip.compress(b'{"visits": {"psf_plot": [{"id": "x"}]}}')):
        path.write(content, overwrite=True)
        with pytest.raises(SummaryError, match="collection_u"):
            read_summary(path, [kind])


def test_the_command_says_what_it_wrote(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("repo", "summarize-plots", str(repository))
    assert run(*arguments, "u/a", "--to", str(tmp_path), "--name", "main") == 0
    assert "11 plots of u/a" in capsys.readouterr().out
    assert (tmp_path / "main" / "collection_u%2Fa.json.gz").exists()
    assert run(*arguments, "u/absent", "--to", str(tmp_path)) == 1
    assert "u/absent" in capsys.readouterr().err
