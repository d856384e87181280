"""The commands that keep and show the database of nights."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from night_messages import START, a_visit, ended

from prompt_processing.cli.pages.nights import project, prune, show
from prompt_processing.domain.outcome import Status
from prompt_processing.nights.publishing import FolderSink
from prompt_processing.nights.reading import Nights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The output folder of a demo with one night."""
    sink = FolderSink(tmp_path / "outcomes")
    sink.send(ended(a_visit(1)))
    sink.send(ended(a_visit(2), status=Status.FAILED, reason="[red]No <template>[/red]."))
    done = CliRunner().invoke(
        project, ["--folder", str(tmp_path / "outcomes"), "--database", str(tmp_path), "--once"]
    )
    assert done.exit_code == 0, done.output
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(show, arguments, env={"COLUMNS": "120", "NIGHTS_DATABASE": None})
    return done.exit_code, done.output


def test_nights_are_listed_with_a_date_that_the_command_takes(folder: Path) -> None:
    status, output = run("--database", str(folder))
    assert status == 0
    assert "2026-05-31" in output
    assert "1 done, 1 failed" in output


def test_night_has_visits_times_and_failures_as_they_were_written(folder: Path) -> None:
    status, output = run("2026-05-31", "--database", str(folder))
    assert status == 0
    for part in ("2026053100101", "arrival to alert", "[red]No <template>[/red]."):
        assert part in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("2026-06-01", "--database", "{}"), "no visit in the night of 2026-06-01"),
        (("--database", "{}/missing.db"), "cannot be read"),
        ((), "NIGHTS_DATABASE"),
        (("--database", "nosuch://user:secret@host/x"), "address of the database"),
    ],
)
def test_what_is_missing_is_named(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    status, output = run(*(one.format(folder) for one in arguments))
    assert status in (1, 2)
    assert message in output
    assert "secret" not in output


def test_old_nights_are_pruned_and_newer_ones_stay_whole(folder: Path) -> None:
    sink = FolderSink(folder / "outcomes")
    sink.send(ended(a_visit(3, announced=START + 5 * 86_400), at=START + 5 * 86_400 + 40))
    given = ["--folder", str(folder / "outcomes"), "--database", str(folder), "--once"]
    assert CliRunner().invoke(project, given).exit_code == 0
    with Nights(folder / "night.db") as nights:
        newest, oldest = nights.nights().rows
        kept = nights.detectors("2026-05-31T05:00:03"), nights.timeline(newest.night)
        pruning = ["--database", str(folder), "--before", "2026-06-01"]
        listed = CliRunner().invoke(prune, [*pruning, "--dry-run"])
        assert "2026-05-31: 2 visits" in listed.output
        assert [one.night for one in nights.nights().rows] == [newest.night, oldest.night]
        assert CliRunner().invoke(prune, pruning).exit_code == 0
        assert [one.night for one in nights.nights().rows] == [newest.night]
        assert (nights.detectors("2026-05-31T05:00:03"), nights.timeline(newest.night)) == kept
        assert nights.visit("2026-05-31T05:00:01") is None
        assert not nights.timeline(oldest.night)
        # The same messages are not read again.
        assert CliRunner().invoke(project, given).exit_code == 0
        assert len(nights.nights().rows) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either --keep-days or --before"),
        (("--keep-days", "1", "--before", "2026-01-01"), "either --keep-days or --before"),
        (("--keep-days", "1", "--database", "{}/missing.db"), "cannot be pruned"),
    ],
)
def test_pruning_explains_what_it_needs(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    words = [one.format(folder) for one in ("--database", "{}", *arguments)]
    done = CliRunner().invoke(prune, words)
    assert done.exit_code != 0
    assert message in done.output
    assert not (folder / "missing.db").exists()
