"""Views of a kept night come before their pixels, and stay up whatever an address contains."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from bokeh.document import Document
from kept_night import DETECTORS, EVIL, OBJECT, VISITS, make_kept_night
from panel.io.state import set_curdoc

from prompt_processing.navigator.app import view_types
from prompt_processing.navigator.detector.view import DetectorView
from prompt_processing.navigator.objects.search import ApdbReader, Criteria, SearchError
from prompt_processing.navigator.page import Page, View
from prompt_processing.navigator.plain import PlainView
from prompt_processing.navigator.sources import Places, Sources
from prompt_processing.navigator.url_state import from_query, with_changes

USUAL: dict[str, dict[str, Any]] = {
    "nights": {"night": 20260531},
    "visit": {"visit": str(VISITS[0])},
    "detector": {"visit": str(VISITS[0]), "detector": DETECTORS[0]},
    "object": {"object": OBJECT},
    "collections": {},
}
TEXTS = (EVIL + "\0\x1b\u202e\U0001f600(a+)+$", "../" * 600)
NUMBERS = (2**63 - 1, -1)
FLOATS = (-1e308, 5e-324)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = make_kept_night(tmp_path_factory.mktemp("night"))
    return Sources(Places.of_demo(folder))


def hostile_values(annotation: str) -> tuple[Any, ...]:
    if annotation.startswith("int"):
        return NUMBERS
    if annotation.startswith("float"):
        return FLOATS
    return TEXTS if annotation == "str" else ()


@pytest.mark.parametrize("view", view_types(), ids=lambda view: view.name)
def test_no_value_in_an_address_breaks_a_page(view: type[View | PlainView], sources: Sources) -> None:
    usual = view.state_type(**USUAL[view.name])
    for field in dataclasses.fields(view.state_type):
        for value in hostile_values(str(field.type)):
            try:
                shown = shown_by(view, sources, with_changes(usual, **{field.name: value}))
            except sources.failures:
                # The frame shows it as a message.
                continue
            assert "<script>window" not in shown, (field.name, value)


def shown_by(view: type[View | PlainView], sources: Sources, state: Any) -> str:
    """Return all HTML of a view."""
    if issubclass(view, PlainView):
        content = view.content(sources, state)
        return " ".join([*content.regions.values(), *content.addresses.values()])
    page = Page()
    return texts(view(page, sources, state).content) + texts(page.messages)


def texts(found: Any) -> str:
    parts = [str(found.object)] if isinstance(getattr(found, "object", None), str) else []
    return " ".join([*parts, *(texts(one) for one in getattr(found, "objects", []) or [])])


@pytest.mark.parametrize("digits", ["9223372036854775808", "-9999999999999999999", "1" * 20])
@pytest.mark.parametrize("view", view_types()[2:4], ids=lambda view: view.name)
def test_ids_beyond_64_bits_are_explained(digits: str, view: type[View | PlainView]) -> None:
    state, problems = from_query(view.state_type, f"source={digits}")
    assert state.source is None
    assert "64 bits" in problems[0]


def test_magnitude_without_a_flux_is_explained(sources: Sources) -> None:
    reader: ApdbReader = sources.apdb()
    with pytest.raises(SearchError, match="magnitude"):
        reader.sources(Criteria(object=OBJECT, brighter=-1e308))


def test_page_of_a_session_comes_before_its_pixels(sources: Sources) -> None:
    state = DetectorView.state_type(**USUAL["detector"])
    with set_curdoc(Document()):
        view = DetectorView(Page(), sources, state)
    assert f"detector {DETECTORS[0]}" in texts(view.content)
    assert [len(one.source.data["image"]) for one in view._screen.panels.values()] == [0, 0, 0]
    # A page that no browser shows has them at once.
    view = DetectorView(Page(), sources, state)
    assert [len(one.source.data["image"]) for one in view._screen.panels.values()] == [1, 1, 1]
