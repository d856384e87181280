"""The view of collections: what it opens, keeps and writes into its page."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import plot_repository as world
import pytest
from lsst.daf.butler import Butler
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from prompt_processing.navigator.collections import shelf as shelf_module
from prompt_processing.navigator.collections.choice import usable
from prompt_processing.navigator.collections.pictures import compare, figure, figures, only_in_one
from prompt_processing.navigator.collections.shelf import PlotDefaults, PlotShelf, Which
from prompt_processing.navigator.collections.state import CollectionsState, chosen_kinds, stepped
from prompt_processing.navigator.objects.search import ApdbReader
from prompt_processing.navigator.sources import Places, Sources
from prompt_processing.navigator.url_state import from_query, to_query
from prompt_processing.repository.plots.find import CollectionContent
from prompt_processing.repository.plots.kinds import PlotKind, PlotRef
from prompt_processing.repository.plots.summary import write_summary

CAMERA = {"instrument": world.INSTRUMENT}
HOSTILE = "<img src=x onerror=alert(1)>\"'&"


def ref(kind: str, **data: int | str) -> PlotRef:
    return PlotRef(kind, tuple(data.items()), uuid.uuid4())


def no_picture(number: int, one: PlotRef) -> tuple[bytes, str]:
    raise LookupError(f"no file {HOSTILE}")


def test_addresses_are_read_as_written() -> None:
    state = CollectionsState(
        "main", "u/a", place="instrument=HSC,visit=1,detector=2", names="^psf|a+b", columns=5
    )
    read, problems = from_query(CollectionsState, to_query(state))
    assert read == state
    assert problems == []
    read, problems = from_query(CollectionsState, "?tab=everything&columns=x&mode=side")
    assert read == CollectionsState()
    assert len(problems) == 2


def test_a_wrong_pattern_shows_everything_and_says_why() -> None:
    kinds = tuple(PlotKind(name, ("visit", "detector"), ("instrument",)) for name in ("a_plot", "b_plot"))
    content = CollectionContent((*kinds, PlotKind("c_plot", (), ())), (), ())
    assert [one.name for one in chosen_kinds(content, CollectionsState(names="B"))[0]] == ["b_plot"]
    shown, problem = chosen_kinds(content, CollectionsState(names="("))
    assert [one.name for one in shown] == ["a_plot", "b_plot"]
    assert "regular expression" in problem


def test_steps_end_at_the_ends() -> None:
    assert stepped("abc", "b", 1) == "c"
    assert stepped("abc", "c", 1) is None
    assert stepped("abc", "a", -1) is None
    assert stepped("abc", "x", 1) == "a"
    assert stepped("", "x", 1) is None


def test_two_collections_are_compared_by_kind_and_data_id() -> None:
    first = [ref("a_plot", visit=1), ref("b_plot", visit=1)]
    second = [ref("b_plot", visit=1), ref("c_plot", visit=1)]
    pairs = compare(first, second)
    assert [(one and one.kind, two and two.kind) for one, two in pairs] == [
        ("a_plot", None),
        ("b_plot", "b_plot"),
        (None, "c_plot"),
    ]
    shown = only_in_one(pairs, ("u/a", "u/b"), {"a_plot": "collections?plot=a_plot"})
    assert "Only in u/a: 1" in shown
    assert "b_plot" not in shown


@pytest.mark.parametrize("mode", ["single", "side", "blink", "first", "second"])
def test_text_from_data_is_escaped(mode: str) -> None:
    one = ref(HOSTILE, instrument=HOSTILE, band=HOSTILE)
    for pair in ((one, None), (None, one), (one, one)):
        for content in (no_picture, lambda number, one: (b"\x89PNG", "image/png")):
            shown = figure(pair, mode, (HOSTILE, HOSTILE), content, address=f"collections?plot={HOSTILE}")
            shown += only_in_one([pair], (HOSTILE, HOSTILE), {HOSTILE: HOSTILE})
            assert "<img src=x" not in shown
            assert "onerror=alert(1)>" not in shown
            assert shown.count("<figure") == 1
    assert "repeat(4," in figures(["x"], 4)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = world.make_repository(tmp_path_factory.mktemp("shelf") / "repo")
    with Butler.from_config(repo, writeable=True) as butler:
        for run in ("u/a", "u/b"):
            for visit in world.VISITS:
                world.put_plot(butler, "psf_plot", run, **CAMERA, visit=visit, detector=94)
            place = {**CAMERA, "visit": world.VISITS[0], "detector": 94}
            world.put(butler, "quality", place, "MetricMeasurementBundle", {}, run, **place)
    return repo


class Lender:
    def __init__(self, repository: Path) -> None:
        self.butler = Butler.from_config(repository, writeable=False)
        self.times = 0

    @contextmanager
    def __call__(self) -> Iterator[Butler]:
        self.times += 1
        yield self.butler


def test_answers_and_pictures_are_kept(repository: Path) -> None:
    lender = Lender(repository)
    shelf = PlotShelf(lender, PlotDefaults("main"))
    which = Which("main", "u/a")
    kinds = shelf.content(which).kinds
    places = shelf.places(which, kinds)
    (one,) = shelf.plots(which, kinds, places[0])
    picture = shelf.picture("main", one)
    asked = lender.times
    assert shelf.places(which, kinds) == places
    assert shelf.plots(which, kinds, places[0]) == [one]
    assert shelf.picture("main", one) == picture
    assert lender.times == asked


def test_figures_of_the_next_place_are_read_before_they_are_asked_for(repository: Path) -> None:
    lender = Lender(repository)
    shelf = PlotShelf(lender, PlotDefaults("main"))
    which = Which("main", "u/a")
    kinds = shelf.content(which).kinds
    place = shelf.places(which, kinds)[1]
    shelf.prepare(which, kinds, [place])
    shelf._pool.submit(lambda: None).result(60)
    before = lender.times
    assert all(shelf.picture("main", one)[0] for one in shelf.plots(which, kinds, place))
    assert lender.times == before
    shelf.close()


def test_an_old_answer_is_shown_while_a_new_one_is_asked_for(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lender = Lender(repository)
    shelf = PlotShelf(lender, PlotDefaults("main"))
    known = shelf.collections("main")
    clock = time.monotonic() + shelf_module._LIFETIME_S + 1
    monkeypatch.setattr(shelf_module, "time", SimpleNamespace(monotonic=lambda: clock))
    before = lender.times
    held = threading.Event()
    # The thread that asks waits for this one.
    shelf._pool.submit(held.wait, 60)
    assert shelf.collections("main") == known
    assert shelf.collections("main") == known
    assert lender.times == before
    held.set()
    shelf._pool.submit(lambda: None).result(60)
    assert lender.times == before + 1
    clock += shelf_module._MOST_LIFETIMES * shelf_module._LIFETIME_S + 1
    shelf.collections("main")
    assert lender.times == before + 2
    shelf.close()


def test_pictures_that_are_kept_have_a_limit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = PlotShelf(Lender(repository), PlotDefaults("main"))
    which = Which("main", "u/a")
    kinds = shelf.content(which).kinds
    refs = [one for place in shelf.places(which, kinds) for one in shelf.plots(which, kinds, place)]
    largest = max(len(shelf.picture("main", one)[0]) for one in refs)
    monkeypatch.setattr("prompt_processing.navigator.collections.shelf._PICTURE_BYTES", 2 * largest)
    shelf = PlotShelf(Lender(repository), PlotDefaults("main"))
    for one in refs:
        shelf.picture("main", one)
    assert sum(len(content) for content, _ in shelf._pictures.values()) <= 2 * largest
    assert len(shelf._pictures) < len(refs)


def test_a_page_opens_only_known_repositories(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index.yaml"
    index.write_text(f"other: {repository}\n")
    monkeypatch.setenv("DAF_BUTLER_REPOSITORY_INDEX", str(index))
    shelf = PlotShelf(Lender(repository), PlotDefaults("main"))
    assert shelf.repositories() == ["main", "other"]
    assert shelf.collections("other") == ["u/a", "u/b"]
    with shelf.butler("other") as butler, pytest.raises(Exception, match="read-only"):
        butler.collections.register("u/new")
    for name in (str(repository), "", "../..", "http://169.254.169.254/"):
        with pytest.raises(LookupError, match="known"):
            shelf.collections(name)
    shelf.close()


def test_address_of_nothing_leads_to_what_there_is(repository: Path) -> None:
    shelf = PlotShelf(Lender(repository), PlotDefaults("main"))
    asked = CollectionsState("main", "u/none", other="../../etc", columns=5)
    state, known, notes = usable(shelf, ["main"], asked)
    assert (state.collection, state.other, state.columns) == ("u/a", "", 5)
    assert known == ["u/a", "u/b"]
    assert [one.rpartition(" ")[2] for one in notes] == ["u/none.", "../../etc."]
    state, _, notes = usable(shelf, ["main"], CollectionsState("/etc/passwd", "u/b", place="visit=1"))
    assert (state.repo, state.collection, state.place) == ("main", "u/a", "")
    assert "'/etc/passwd'" in notes[0]


def test_a_summary_is_read_in_place_of_the_registry(repository: Path, tmp_path: Path) -> None:
    lender = Lender(repository)
    write_summary(lender.butler, "main", "u/a", str(tmp_path))
    shelf = PlotShelf(lender, PlotDefaults("main", summaries=str(tmp_path)))
    which = Which("main", "u/a")
    kinds = shelf.content(which).kinds
    asked = lender.times
    places = shelf.places(which, kinds)
    assert len(places) == len(world.VISITS)
    assert len(shelf.plots(which, kinds, places[0])) == 1
    assert lender.times == asked
    # A summary does not list metrics.
    quality = PlotKind("quality", ("detector", "visit"), ("instrument",))
    assert shelf.places(which, [quality]) == [
        (("instrument", "LSSTCam"), ("visit", world.VISITS[0]), ("detector", 94))
    ]
    # Without a summary, the registry is asked.
    assert len(shelf.places(Which("main", "u/b"), kinds)) == len(world.VISITS)
    assert lender.times > asked


def test_the_pages_cannot_write_to_the_apdb(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "apdb.db") as database:
        database.execute('CREATE TABLE "DiaObject" ("diaObjectId" INTEGER)')
    search = ApdbReader(f"sqlite:///{tmp_path}/apdb.db")
    with search._engine.connect() as connection:
        for statement in (
            'DELETE FROM "DiaObject"',
            'DROP TABLE "DiaObject"',
            'INSERT INTO "DiaObject" VALUES (1)',
        ):
            with pytest.raises(SQLAlchemyError, match=r"readonly|read-only"):
                connection.execute(text(statement))
    search.close()


def test_the_pages_cannot_write_to_the_repository(repository: Path) -> None:
    sources = Sources(Places(repository=str(repository)))
    with sources.butler() as butler:
        assert not butler.isWriteable()
        (one,) = butler.query_datasets("psf_plot", "u/a", limit=1)
        for write in (
            lambda: butler.collections.register("u/new"),
            lambda: butler.pruneDatasets([one], purge=True, unstore=True, disassociate=True),
            lambda: butler.removeRuns(["u/a"]),
        ):
            with pytest.raises(Exception, match=r"read-only|not.*writ"):
                write()
    sources.close()
