import json
from pathlib import Path

from prompt_processing.demo.outcomes import LogFollower, VisitOutcome


def line(**fields: object) -> str:
    entry = {
        "asctime": "2025-06-10T01:02:03.500+00:00",
        "group": "g",
        "detector": 94,
        "message": "processed",
        "outcome": {"status": "processed", "pipeline": "ApPipe", "stages": {"preload": 1.5, "wait": 2.0}},
    }
    return json.dumps(entry | fields) + "\n"


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    log = tmp_path / "activator.log"
    follower = LogFollower(log)
    assert follower.read() == []
    log.write_text("starting\n" + line())
    assert [one.detector for one in follower.read()] == [94]
    assert follower.read() == []
    with log.open("a") as more:
        more.write(line(detector=0))
    assert [one.detector for one in follower.read()] == [0]


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    log = tmp_path / "activator.log"
    follower = LogFollower(log)
    text = line()
    log.write_text(text[:50])
    assert follower.read() == []
    with log.open("a") as more:
        more.write(text[50:])
    assert len(follower.read()) == 1


def test_lines_that_tell_no_outcome_are_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "activator.log"
    log.write_text('the "outcome" of nothing\n{"outcome": 3}\n' + line())
    assert len(LogFollower(log).read()) == 1


def test_stages_follow_each_other_from_the_announcement() -> None:
    outcome = VisitOutcome("g", 1, 100.0, {"status": "processed", "stages": {"preload": 1.5, "wait": 2.0}})
    assert outcome.spans(50.0) == [("preload", 50.0, 1.5), ("wait", 51.5, 2.0)]


def test_fallback_pipeline_does_not_count_as_processed() -> None:
    assert VisitOutcome("g", 1, 0.0, {"status": "processed", "pipeline": "ApPipe"}).processed
    assert not VisitOutcome("g", 1, 0.0, {"status": "processed", "pipeline": "SingleFrame"}).processed
    assert not VisitOutcome("g", 1, 0.0, {"status": "failed", "pipeline": "ApPipe"}).processed
