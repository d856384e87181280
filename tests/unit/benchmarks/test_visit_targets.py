"""A target counts as met only where nothing else ran while it was measured."""

from __future__ import annotations

import os
import time
from pathlib import Path
from unittest.mock import Mock
from xml.etree import ElementTree

import pytest
from rich.console import Console
from visit.flame import Flame
from visit.ledger import Ledger
from visit.machine import OtherLoad, busy_ticks, cpu_seconds_of
from visit.targets import BUDGETS, ON_PATH, TARGETS, Target, step_table, target_table

CPU = Target("CPU", 4.0)
WALL = Target("wall", 2.0, by_clock=True)


def shown(table: object) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_target_is_met_on_a_quiet_machine_only() -> None:
    assert CPU.verdict(3.9, others=0.02) == "met"
    assert "met" not in CPU.verdict(3.9, others=0.8)


def test_excess_of_cpu_is_reported_on_any_machine() -> None:
    assert CPU.verdict(6.0, others=0.0) == CPU.verdict(6.0, others=1.5) == "1.5 times as much"


@pytest.mark.parametrize("seconds", [0.1, 9.0])
def test_wall_clock_of_a_busy_machine_is_not_judged(seconds: float) -> None:
    assert WALL.verdict(seconds, others=0.8).startswith("not judged")


def test_busy_ticks_leave_out_idle_time_and_count_guests_once() -> None:
    #        user nice system idle iowait irq softirq steal guest guest_nice
    stat = "cpu  100 20 30 4000 500 1 2 7 50 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
    assert busy_ticks(stat) == 100 + 20 + 30 + 1 + 2 + 7


def test_work_of_helpers_is_no_other_load(monkeypatch: pytest.MonkeyPatch) -> None:
    hertz = os.sysconf("SC_CLK_TCK")
    # In ten seconds all programs used fifteen, of which six in this process and four in its helper.
    for name, readings in (
        ("busy_ticks", [0, 15 * hertz]),
        ("own_seconds", [1.0, 7.0]),
        ("cpu_seconds_of", [0.0, 4.0]),
    ):
        monkeypatch.setattr(f"visit.machine.{name}", Mock(side_effect=readings))
    monkeypatch.setattr("visit.machine.time", Mock(monotonic=Mock(side_effect=[100.0, 110.0])))
    assert OtherLoad((1,)).cores() == pytest.approx(0.5)


def test_seconds_of_a_running_process_are_read() -> None:
    assert cpu_seconds_of(os.getpid()) > 0


def test_tables_put_cpu_first_and_name_the_load() -> None:
    values = {"cpu": 5.0, "wall": 2.5, "arithmetic": 1.0, "mib": 900.0}
    steps = shown(step_table("Visits", [ON_PATH, "other"], lambda step, what: values[what], lambda step: 7.0))
    header = next(line for line in steps.splitlines() if "step" in line)
    assert header.index("CPU") < header.index("budget") < header.index("wall")
    assert f"{BUDGETS[ON_PATH]:g}" in steps
    goals = shown(target_table({target.what: target.limit for target in TARGETS}, 0.7))
    assert "0.70 cores" in goals
    assert "│ met" not in goals


def test_calls_of_a_step_within_a_step_are_its_own() -> None:
    ledger = Ledger()
    ledger.calls = {}
    ledger.visits.append({})
    with ledger.step("outer"):
        with ledger.step("inner"):
            sorted([2, 1])
        max(1, 2)
    called = {
        step: [str(entry.code) for entry in profile.getstats()] for step, profile in ledger.calls.items()
    }
    assert any("sorted" in name for name in called["inner"])
    assert not any("sorted" in name for name in called["outer"])
    assert any("max" in name for name in called["outer"])


def test_flame_is_as_wide_as_the_seconds_of_each_function(tmp_path: Path) -> None:
    flame = Flame()
    flame.add(["~workspace.preload", "butler.get"], 1.0)
    flame.add(["~workspace.preload"], 0.5)
    flame.add(["~workspace.<lambda>"], 1.5)
    flame.write(tmp_path / "flame.svg", "two visits")
    root = ElementTree.parse(tmp_path / "flame.svg").getroot()
    boxes = {
        group[0].text: float(group[1].get("width", 0)) for group in root.iter("{http://www.w3.org/2000/svg}g")
    }
    assert list(boxes) == ["workspace.<lambda>: 1.50 s", "workspace.preload: 1.50 s", "butler.get: 1.00 s"]
    whole, half, third = boxes["workspace.<lambda>: 1.50 s"], *list(boxes.values())[1:]
    assert whole == pytest.approx(half)
    assert third == pytest.approx(half * 2 / 3, rel=0.01)


def test_flame_counts_what_the_process_uses() -> None:
    flame = Flame()
    start = time.process_time()
    with flame.watching():
        while not flame.root.seconds:
            sum(range(1000))
    assert flame.root.seconds <= time.process_time() - start
