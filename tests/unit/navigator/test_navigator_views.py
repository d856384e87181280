"""Every view stays up and says what is missing, and shows another night's leftovers without a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kept_night import make_apdb

from prompt_processing.navigator.collections.view import CollectionsView
from prompt_processing.navigator.detector.state import DetectorState
from prompt_processing.navigator.detector.view import DetectorView
from prompt_processing.navigator.nights.night_view import NightState, NightView
from prompt_processing.navigator.nights.visit_view import VisitState, VisitView
from prompt_processing.navigator.objects.view import ObjectState, ObjectView
from prompt_processing.navigator.page import Page, View, make_page
from prompt_processing.navigator.plain import PlainView, Reader
from prompt_processing.navigator.sources import Places, Sources, UnavailableError
from prompt_processing.repository.central import create_repository

VIEWS = (DetectorView, ObjectView, CollectionsView)
PLAIN_VIEWS = (NightView, VisitView)
TITLES = [(view.name, view.title) for view in VIEWS]


def texts(found: Any) -> str:
    """Return all HTML below a Panel object."""
    parts = [str(found.object)] if isinstance(getattr(found, "object", None), str) else []
    return " ".join([*parts, *(texts(one) for one in getattr(found, "objects", []) or [])])


def messages(view: View) -> str:
    return texts(view.page.messages)


@pytest.mark.parametrize("view", VIEWS)
def test_page_without_any_source_stays_up(view: type[View]) -> None:
    assert make_page(view, TITLES, Sources(Places()))() is not None


@pytest.mark.parametrize("view", VIEWS)
def test_page_with_unreachable_sources_stays_up(view: type[View], tmp_path: Path) -> None:
    gone = Places(str(tmp_path / "no"), f"sqlite:///{tmp_path}/no.db", f"sqlite:///{tmp_path}/no2.db")
    assert make_page(view, TITLES, Sources(gone))() is not None


@pytest.mark.parametrize("view", PLAIN_VIEWS)
def test_plain_page_without_any_source_says_what_is_missing(view: type[PlainView]) -> None:
    answer = Reader(Sources(Places())).read(view, "visit=12")
    assert answer.failed
    assert "This cannot be shown now." in answer.content.regions["heading"]
    assert "--repo" in answer.messages[0]


@pytest.mark.parametrize("view", PLAIN_VIEWS)
def test_plain_page_with_unreachable_sources_says_so(view: type[PlainView], tmp_path: Path) -> None:
    gone = Places(str(tmp_path / "no"), f"sqlite:///{tmp_path}/no.db")
    answer = Reader(Sources(gone)).read(view, "visit=12")
    assert answer.failed
    assert answer.messages


def test_detector_view_names_the_option_that_is_missing() -> None:
    view = DetectorView(Page(), Sources(Places()), DetectorState(visit="2026053100101", detector=94))
    assert "--repo" in messages(view)


def test_object_view_names_the_option_that_is_missing() -> None:
    with pytest.raises(UnavailableError, match="--apdb"):
        ObjectView(Page(), Sources(Places()), ObjectState(object=1))


def test_visit_that_is_no_number_is_explained_without_a_database() -> None:
    for visit in ("<b>", "1" * 30):
        regions = VisitView.content(Sources(Places()), VisitState(visit=visit)).regions
        assert "number of its exposure" in regions["heading"]
        assert "<b>" not in "".join(regions.values())


def test_empty_repository_has_no_nights(tmp_path: Path) -> None:
    create_repository(str(tmp_path / "repo"))
    content = NightView.content(Sources(Places(repository=str(tmp_path / "repo"))), NightState())
    assert "no outputs" in content.regions["heading"]


def test_repository_is_opened_to_read_only(tmp_path: Path) -> None:
    create_repository(str(tmp_path / "repo"))
    with Sources(Places(repository=str(tmp_path / "repo"))).butler() as butler:
        assert not butler.isWriteable()


def test_database_that_comes_back_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = Sources(Places(apdb=f"sqlite:///{tmp_path / 'apdb.db'}"))
    with pytest.raises(sources.failures):
        sources.apdb().source(1)
    make_apdb(tmp_path / "apdb.db")
    assert sources.apdb().source(1).empty


def test_messages_are_text() -> None:
    page = Page()
    page.tell("<script>x</script>" + "y" * 100_000)
    text = texts(page.messages)
    assert "<script>" not in text
    assert len(text) < 2000


def test_no_key_of_many_is_lost() -> None:
    page = Page()
    assert page.pressed('[1, "n"]') == ["n"]
    # Panel has left out two values.
    assert page.pressed('[4, "n", "p", "n", "b"]') == ["p", "n", "b"]
    assert page.pressed('[4, "n", "p", "n", "b"]') == []
    # More keys than the script remembers.
    assert page.pressed('[40, "j", "k"]') == ["j", "k"]


@pytest.mark.parametrize("text", ["", "n", "{", "[]", '["n", 1]', "[null]", '{"a": 1}', "12", "[Infinity]"])
def test_value_that_is_no_list_of_keys_is_ignored(text: str) -> None:
    assert Page().pressed(text) == []
