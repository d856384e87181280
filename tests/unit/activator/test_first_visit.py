"""What the first visit needs is loaded while the worker is idle."""

from __future__ import annotations

import logging
import threading
from importlib.util import find_spec

import pytest

from prompt_processing.activator.services import first_visit
from prompt_processing.activator.services.first_visit import STEPS, FirstVisit


def test_steps_run_in_their_order_beside_the_caller() -> None:
    done: list[tuple[str, int]] = []
    steps = {name: (lambda name=name: done.append((name, threading.get_ident()))) for name in "abc"}
    loading = FirstVisit(steps)
    loading.begin()
    loading.wait()
    assert [name for name, _ in done] == ["a", "b", "c"]
    assert threading.get_ident() not in {thread for _, thread in done}


def test_failed_step_is_logged_and_the_next_one_runs(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    loading = FirstVisit({"lamp": lambda: {}["lamp"], "dome": lambda: done.append("dome")})
    with caplog.at_level(logging.ERROR):
        loading.begin()
        loading.wait()
    assert done == ["dome"]
    assert caplog.messages == ["Cannot load the lamp before the first visit."]


def test_end_waits_for_the_present_step_and_begins_no_other() -> None:
    begun, released, done = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        released.wait(60)
        done.append("slow")

    loading = FirstVisit({"slow": slow, "next": lambda: done.append("next")})
    loading.begin()
    assert begun.wait(60)
    loading._stop.set()
    released.set()
    loading.end()
    loading.wait()
    assert done == ["slow"]


def test_worker_that_never_was_ready_may_end() -> None:
    FirstVisit({}).end()


@pytest.mark.parametrize("module", first_visit._MODULES)
def test_modules_exist(module: str) -> None:
    assert find_spec(module) is not None


def test_each_step_has_a_name_that_a_log_can_quote() -> None:
    assert all(callable(load) and name == name.strip() for name, load in STEPS.items())
