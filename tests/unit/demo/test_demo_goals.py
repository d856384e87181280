from typing import Any

import pytest
from rich.console import Console

from prompt_processing.cli.demo import exit_status
from prompt_processing.demo.goals import compare_with_goals, missed_goals


def row(**columns: Any) -> dict[str, Any]:
    """A visit in which everything went well."""
    return {
        "number": 1,
        "status": "processed",
        "pipeline": "ApPipe",
        "injected": 100,
        "recovered": 99,
        "above_threshold": 100,
        "spurious": 1,
        "astrometry_mas": 10.0,
        "zero_point_error": -0.002,
        "arrival_to_alert_s": 12.0,
        "alerts_sent": 120,
        "alerts_read_back": 120,
        "alerts_with_history": 0,
        "updated_dia_objects": 0,
    } | columns


def missed(*rows: dict[str, Any]) -> list[str]:
    return [goal.name for goal in missed_goals(compare_with_goals(rows))]


def test_good_night_meets_every_goal() -> None:
    goals = compare_with_goals([row(), row(number=2, updated_dia_objects=90, alerts_with_history=95)])
    assert all(goal.met for goal in goals)


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"status": "failed"}, "visits processed"),
        ({"pipeline": "SingleFrame"}, "visits processed"),
        ({"recovered": 94}, "injected with S/N > 10 recovered"),
        ({"spurious": 6}, "spurious with S/N > 10"),
        ({"astrometry_mas": 51.0}, "astrometry, worst"),
        ({"zero_point_error": -0.021}, "zero point error, worst"),
        ({"zero_point_error": float("nan")}, "zero point error, worst"),
        ({"alerts_read_back": 119}, "alerts read back"),
        ({"alerts_sent": 0, "alerts_read_back": 0}, "alerts read back"),
        ({"alerts_sent": None, "alerts_read_back": 0}, "alerts read back"),
    ],
)
def test_each_goal_is_missed_by_its_own_fault(columns: dict[str, Any], name: str) -> None:
    assert missed(row(**columns)) == [name]


def test_night_of_latiss_that_missed_four_and_invented_sixteen_fails() -> None:
    night = [
        row(injected=30, recovered=28, above_threshold=43, spurious=15),
        row(injected=31, recovered=29, above_threshold=26, spurious=1),
    ]
    assert missed(*night) == ["injected with S/N > 10 recovered", "spurious with S/N > 10"]


def test_one_source_of_few_may_be_missed() -> None:
    few = {"injected": 4, "above_threshold": 4, "spurious": 1}
    assert missed(row(**few, recovered=3)) == []
    assert missed(row(**few, recovered=2)) == ["injected with S/N > 10 recovered"]


def test_four_of_forty_sources_may_not_be_missed() -> None:
    night = row(injected=40, recovered=36, above_threshold=40, spurious=0)
    assert missed(night) == ["injected with S/N > 10 recovered"]
    assert missed(night | {"recovered": 38}) == []


def test_late_alerts_are_shown_and_do_not_count() -> None:
    goals = compare_with_goals([row(arrival_to_alert_s=25.0)])
    assert [goal.name for goal in goals if not goal.met] == ["image arrival to last alert, slowest"]
    assert missed_goals(goals) == []


def test_last_visit_must_know_earlier_objects() -> None:
    assert missed(row(), row(number=2)) == ["last visit's alerts with a history"]


def test_missed_goal_makes_the_exit_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=140)
    assert exit_status(compare_with_goals([row()]), console) == 0
    assert exit_status(compare_with_goals([row(spurious=20)]), console) == 1
    assert "spurious with S/N > 10: 20 of 100 (20.0%), limit <= 5%" in capsys.readouterr().out
