"""What becomes of exports whose worker did not get to their end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import butler_world as world
import pytest
from butler_fixtures import Worker
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from prompt_processing.butler import export
from prompt_processing.butler_writer.unfinished import finish_exports
from prompt_processing.cli.main import run

pytestmark = pytest.mark.integration


class WorkerDiesError(BaseException):
    """Nothing handles it, as nothing handles SIGKILL."""


def files_of(central: Path) -> set[str]:
    return {str(path) for path in (central / "LSSTCam" / "prompt").rglob("*") if path.is_file()}


def notes_of(central: Path) -> list[Path]:
    return list((central / "exports-underway").glob("*"))


def recorded(central: Path) -> set[str]:
    with Butler.from_config(str(central)) as butler:
        refs = butler.query_all_datasets("LSSTCam/prompt/*", find_first=False, limit=None)
        return {butler.getURI(ref).ospath for ref in refs}


def die_before_entering(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise WorkerDiesError

    with monkeypatch.context() as patch:
        patch.setattr(worker.repositories.central.writer, "ingest", die)
        with pytest.raises(WorkerDiesError):
            worker.process()


def die_while_copying(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(files: list[tuple[ResourcePath, ResourcePath]], retry_delay: float) -> None:
        for source, there in files[:3]:
            there.transfer_from(source, "copy")
        raise WorkerDiesError

    with monkeypatch.context() as patch:
        patch.setattr(export, "copy_files", die)
        with pytest.raises(WorkerDiesError):
            worker.process()


def test_export_that_ends_leaves_no_note(butler_worker: Worker, central_folder: Path) -> None:
    butler_worker.process()
    central = central_folder / "central"
    assert notes_of(central) == []
    assert files_of(central) == recorded(central)


def test_outputs_that_were_copied_are_entered(
    butler_worker: Worker, central_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_before_entering(butler_worker, monkeypatch)
    central = central_folder / "central"
    assert len(notes_of(central)) == 1
    assert files_of(central)
    assert not recorded(central)
    assert run("repo", "finish-exports", str(central)) == 0
    assert not recorded(central), "it may be underway still"
    assert run("repo", "finish-exports", str(central), "--older-than", "-60") == 0
    assert files_of(central) == recorded(central)
    assert notes_of(central) == []
    with Butler.from_config(str(central)) as butler:
        (chain,) = butler.collections.query("LSSTCam/prompt/output-????-??-??")
        data_id = {"instrument": "LSSTCam", "visit": world.EXPOSURE, "detector": world.DETECTOR}
        assert butler.get("preliminary_visit_image", data_id, collections=chain).bbox.shape == (64, 256)


def test_outputs_that_were_copied_in_part_are_removed(
    butler_worker: Worker, central_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_while_copying(butler_worker, monkeypatch)
    central = central_folder / "central"
    assert len(files_of(central)) == 3
    with Butler.from_config(str(central), writeable=True) as butler:
        assert finish_exports(butler, 0.1, older_than=-60.0).cleared == 1
    assert files_of(central) == recorded(central) == set()
    assert notes_of(central) == []


@pytest.mark.parametrize("die", [die_before_entering, die_while_copying])
def test_outputs_of_the_attempt_that_came_through_stay(
    open_butler_worker: Callable[..., Worker],
    central_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    die: Callable[[Worker, pytest.MonkeyPatch], None],
) -> None:
    die(open_butler_worker(), monkeypatch)
    _, n_exported = open_butler_worker().process()
    central = central_folder / "central"
    kept = recorded(central)
    assert len(kept) == n_exported
    with Butler.from_config(str(central), writeable=True) as butler:
        assert finish_exports(butler, 0.1, older_than=-60.0).cleared == 1
    assert files_of(central) == recorded(central) == kept
    assert notes_of(central) == []


def test_note_that_is_not_understood_is_left_to_somebody(central_folder: Path) -> None:
    folder = central_folder / "central" / "exports-underway"
    folder.mkdir()
    (folder / f"1-{'0' * 32}.json").write_text("{}")
    (folder / "README").write_text("nobody's")
    assert run("repo", "finish-exports", str(central_folder / "central")) == 1
    assert len(notes_of(central_folder / "central")) == 2
