"""Flags and notes: who wrote what on which subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kept_night import OBJECT, VISITS, make_kept_night

from prompt_processing.navigator.detector.state import DetectorState
from prompt_processing.navigator.detector.view import DetectorView
from prompt_processing.navigator.objects.view import ObjectState, ObjectView
from prompt_processing.navigator.page import Page
from prompt_processing.navigator.remarks.desk import RemarkDesk
from prompt_processing.navigator.remarks.panel import badges
from prompt_processing.navigator.remarks.store import Remark, RemarkError, RemarkStore, subject_of
from prompt_processing.navigator.sources import Places, Sources

SUBJECT = subject_of("detector", instrument="LSSTCam", visit=12, detector=94)


@pytest.fixture
def store(tmp_path: Path) -> RemarkStore:
    return RemarkStore(f"sqlite:///{tmp_path}/remarks.db")


def test_flags_belong_to_their_user(store: RemarkStore) -> None:
    store.set_flag("detector", SUBJECT, "seen", True, "ada")
    store.set_flag("detector", SUBJECT, "seen", True, "ada")
    store.set_flag("detector", SUBJECT, "odd", True, "bert")
    # Nobody removes the flag of another.
    store.set_flag("detector", SUBJECT, "seen", False, "bert")
    found = store.remarks("detector", [SUBJECT])[SUBJECT]
    assert [(one.flag, one.user) for one in found] == [("odd", "bert"), ("seen", "ada")]
    store.set_flag("detector", SUBJECT, "seen", False, "ada")
    assert [one.flag for one in store.remarks("detector", [SUBJECT])[SUBJECT]] == ["odd"]
    assert store.remarks("plot", [SUBJECT]) == {}


def test_notes_are_kept_as_they_are(store: RemarkStore) -> None:
    text = "<script>alert('x')</script>; DROP TABLE remark; -- \u202egnp"
    store.add_note("object", "id=7", text + "\x00\x1b[31m", "ada")
    (note,) = store.remarks("object", ["id=7"])["id=7"]
    assert note.note.startswith("<script>")
    assert not {"\x00", "\x1b", "\u202e"} & set(note.note)
    assert (note.flag, note.user) == ("", "ada")


def test_what_is_written_is_bounded(store: RemarkStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for note in ("", "  ", "x" * 1001, "x" * 10_000_000):
        with pytest.raises(RemarkError):
            store.add_note("plot", "id=1", note, "ada")
    with pytest.raises(RemarkError):
        subject_of("plot", id="x" * 1000)
    for kind, subject in (("night", "id=1"), ("plot", ""), ("plot", "x" * 401), ("plot", "a\x00b")):
        with pytest.raises(RemarkError):
            store.add_note(kind, subject, "text", "ada")  # type: ignore[arg-type]
    with pytest.raises(RemarkError):
        store.set_flag("plot", "id=1", "liked", True, "ada")  # type: ignore[arg-type]
    monkeypatch.setattr("prompt_processing.navigator.remarks.store._MOST_PER_USER_AND_HOUR", 3)
    for number in range(3):
        store.add_note("plot", "id=1", f"note {number}", "ada")
    with pytest.raises(RemarkError, match="an hour"):
        store.add_note("plot", "id=1", "one more", "ada")
    store.add_note("plot", "id=1", "of another", "bert")
    assert [one.note for one in store.remarks("plot", ["id=1"])["id=1"]] == [
        "of another",
        "note 2",
        "note 1",
        "note 0",
    ]


def test_remarks_survive_a_restart(store: RemarkStore, tmp_path: Path) -> None:
    store.add_note("plot", "id=1", "odd stripes", "ada")
    store.close()
    again = RemarkStore(f"sqlite:///{tmp_path}/remarks.db")
    assert again.remarks("plot", ["id=1", "id=2"])["id=1"][0].note == "odd stripes"


def test_a_name_counts_only_where_the_edge_is_trusted() -> None:
    headers = {"X-Forwarded-User": "ada", "x-auth-request-user": "bert"}
    assert RemarkDesk("sqlite://").user_of(headers) == ""
    assert RemarkDesk("sqlite://", "x-forwarded-user").user_of(headers) == "ada"
    assert RemarkDesk("sqlite://", "X-Auth-Request-User").user_of(headers) == "bert"
    for missing in ({}, {"X-Forwarded-User": ""}, {"X-Forwarded-User": "\x00 "}):
        with pytest.raises(RemarkError, match="X-Forwarded-User"):
            RemarkDesk("sqlite://", "X-Forwarded-User").user_of(missing)


def test_no_remarks_without_a_database() -> None:
    desk = RemarkDesk()
    assert not desk.configured
    with pytest.raises(RemarkError):
        desk.store()


def test_detectors_and_objects_show_their_remarks(tmp_path: Path) -> None:
    visit = VISITS[0]
    places = Places.of_demo(make_kept_night(tmp_path)).with_given(remarks=str(tmp_path / "remarks.db"))
    sources = Sources(places)
    store = sources.remarks.store()
    detector = subject_of("detector", instrument="LSSTCam", visit=visit, detector=94)
    store.add_note("detector", detector, "stripes <b>", "ada")
    store.add_note("object", subject_of("object", id=OBJECT), "a nova", "ada")
    view = DetectorView(Page(), sources, DetectorState(visit=str(visit), detector=94))
    assert "stripes &lt;b&gt;" in texts(view.content)
    of_object = ObjectView(Page(), sources, ObjectState(object=OBJECT))
    assert "a nova" in texts(of_object.content)
    # The same subject as in the view of collections.
    assert detector == f"instrument=LSSTCam visit={visit} detector=94"
    sources.close()


def texts(found: Any) -> str:
    """Return all HTML below a Panel object."""
    parts = [str(found.object)] if isinstance(getattr(found, "object", None), str) else []
    return " ".join([*parts, *(texts(one) for one in getattr(found, "objects", []) or [])])


def test_badges_summarise_remarks() -> None:
    remarks = [Remark("odd", "", "ada", 0.0), Remark("", "<b>", "ada", 0.0), Remark("", "two", "ada", 0.0)]
    assert "odd" in badges(remarks)
    assert "2 notes" in badges(remarks)
    assert "<b>" not in badges(remarks)
    assert badges([]) == ""
