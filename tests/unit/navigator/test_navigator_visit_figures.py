"""The figures of a visit: every detector is a link, and no text of a message becomes markup."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from kept_night import EVIL
from night_messages import START, a_visit, ended

from prompt_processing.board import focal_plane as board_focal_plane
from prompt_processing.domain.outcome import Status
from prompt_processing.instruments import camera
from prompt_processing.navigator.layout import column, markup, preview, wrapped_row
from prompt_processing.navigator.nights import visit_figures
from prompt_processing.navigator.nights.quality import quality_first
from prompt_processing.navigator.nights.visit_figures import focal_plane, numbers_of, time_line
from prompt_processing.navigator.page import held_back, script_addresses
from prompt_processing.nights.reading import Nights
from prompt_processing.nights.records import Detector
from prompt_processing.nights.store import NightStore

DETECTORS = (94, 95, 96)


@pytest.fixture
def detectors(tmp_path: Path) -> list[Detector]:
    messages = []
    for number in DETECTORS:
        failed = number == DETECTORS[-1]
        messages.append(
            ended(
                a_visit(1, number, START),
                at=START + 40,
                status=Status.FAILED if failed else Status.PROCESSED,
                reason=EVIL if failed else "fine",
            ).model_copy(update={"began": START + 2.0, "stages": {"preload": 1.0, "pipeline": 9.0}})
        )
    store = NightStore(tmp_path / "night.db")
    store.write(messages, {})
    store.close()
    with Nights(tmp_path / "night.db") as nights:
        (visit,) = nights.latest().rows
        return list(nights.detectors(visit.group))


ADDRESSES = {number: f"detector?detector={number}&visit=1" for number in DETECTORS}


def svg_of(text: str) -> ElementTree.Element:
    found = re.search(r"<svg.*</svg>", text)
    assert found
    return ElementTree.fromstring(found[0])


def test_each_detector_is_a_link_with_its_state(detectors: list[Detector]) -> None:
    svg = svg_of(focal_plane("LSSTCam", detectors, "state", {}, ADDRESSES))
    links = {one.get("href"): one for one in svg.iter("a")}
    assert set(links) == set(ADDRESSES.values())
    assert links[ADDRESSES[94]].get("data-words", "").startswith("detector 94 R22_S11, done")
    assert links[ADDRESSES[96]].findtext("text") == "×"
    # Other detectors of the camera are shown, too.
    assert len(list(svg.iter("path"))) >= 189


def test_numbers_have_a_scale_and_colours(detectors: list[Detector]) -> None:
    values = {94: 1.0, 95: 3.0}
    shown = focal_plane("LSSTCam", detectors, "seeing", values, ADDRESSES)
    colours = {one.get("href"): one.find("path").get("fill") for one in svg_of(shown).iter("a")}  # type: ignore[union-attr]
    assert len({colours[address] for address in ADDRESSES.values()}) == 3
    assert re.search(r"<div>1<span.*</span>3 ", shown)


@pytest.mark.parametrize("instrument", ["", "../../etc", "<b>", "NoCamera"])
def test_unknown_camera_has_its_detectors_in_a_square(instrument: str, detectors: list[Detector]) -> None:
    svg = svg_of(focal_plane(instrument, detectors, "state", {}, ADDRESSES))
    assert len(list(svg.iter("a"))) == len(DETECTORS)


def test_a_visit_without_detectors_has_no_figures() -> None:
    assert focal_plane("NoCamera", (), "state", {}, {}) == ""
    assert time_line(()) == ""


def test_stages_follow_each_other_in_one_line_for_each_detector(detectors: list[Detector]) -> None:
    svg = svg_of(time_line(detectors))
    titles = [one.get("data-words") for one in svg.iter("rect")]
    assert titles == [f"detector {number}: preload 1.00 s, pipeline 9.00 s" for number in DETECTORS]
    starts = [re.findall(r"M([\d.]+) ", one.get("d", "")) for one in svg.iter("path")]
    # 2 s of 12 s have passed before the first stage.
    assert starts == [["166.7"] * 3, ["250.0"] * 3]


def test_reasons_are_text_in_figures(detectors: list[Detector]) -> None:
    shown = focal_plane("LSSTCam", detectors, "state", {}, ADDRESSES)
    assert "<script" not in shown
    assert any(EVIL in one.get("data-words", "") for one in svg_of(shown).iter("a"))


def test_metrics_of_the_image_come_before_others() -> None:
    assert quality_first(["isr.a", "buildTemplate.coverage", "calibrateImage.seeing_fwhm_arcsec"]) == [
        "calibrateImage.seeing_fwhm_arcsec",
        "buildTemplate.coverage",
        "isr.a",
    ]


def test_numbers_of_detectors_have_names(detectors: list[Detector]) -> None:
    assert numbers_of(detectors)["seconds of pipeline"] == dict.fromkeys(DETECTORS, 9.0)


def test_preview_has_the_html_of_visible_parts_in_order() -> None:
    hidden = markup("hidden", visible=False)
    found = preview(column(markup("<h1>first</h1>"), hidden, wrapped_row(markup("second"))))
    assert "hidden" not in found.rpartition("</style>")[2]
    assert found.index("<h1>first</h1>") < found.index("second")
    assert found.count("<style>") == 1


def test_scripts_wait_for_the_first_paint() -> None:
    tags = (
        '<script type="text/javascript" src="static/js/bokeh.min.js?v=1"></script>\n'
        '<script type="text/javascript" src="static/js/bokeh-gl.min.js?v=1"></script>\n'
        '<script type="text/javascript">Bokeh.set_log_level("info");</script>'
    )
    assert script_addresses(tags) == ["static/js/bokeh.min.js?v=1"]
    assert held_back("<script>go()</script>") == '<script type="text/plain" id="start">go()</script>'


def test_camera_whose_description_is_unusable_hides_no_visit(
    detectors: list[Detector], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusable(name: str) -> None:
        raise LookupError("instrument.yaml is unusable")

    monkeypatch.setattr(camera, "load_camera", unusable)
    visit_figures._places_in_camera.cache_clear()
    board_focal_plane._camera.cache_clear()
    svg = svg_of(focal_plane("LSSTCam", detectors, "state", {}, ADDRESSES))
    assert len(list(svg.iter("a"))) == len(DETECTORS)
    assert set(board_focal_plane.positions("LSSTCam", DETECTORS)) == set(DETECTORS)
    board_focal_plane._camera.cache_clear()
