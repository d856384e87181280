"""What the first visit needs is loaded while the worker is idle."""

from __future__ import annotations

import logging
import threading
from importlib.util import find_spec

import pytest

from prompt_processing.activator.services import first_visit
from prompt_processing.activator.services.first_visit import STEPS, FirstVisit, LoadingWhileWaiting
from prompt_processing.domain.notices import ArrivalNotice


def test_steps_run_in_their_order_beside_the_caller() -> None:
    done: list[tuple[str, int]] = []
    steps = {name: (lambda name=name: done.append((name, threading.get_ident()))) for name in "abc"}
    loading = FirstVisit(steps, grace=0)
    loading.begin()
    loading.wait()
    assert [name for name, _ in done] == ["a", "b", "c"]
    assert threading.get_ident() not in {thread for _, thread in done}


def test_failed_step_is_logged_and_the_next_one_runs(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    broken: dict[str, str] = {}
    loading = FirstVisit({"lamp": lambda: broken["lamp"], "dome": lambda: done.append("dome")}, grace=0)
    with caplog.at_level(logging.ERROR):
        loading.begin()
        loading.wait()
    assert done == ["dome"]
    assert caplog.messages == ["Cannot load lamp before the first visit."]


def test_end_waits_for_the_present_step_and_begins_no_other() -> None:
    begun, released, done = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        released.wait(60)
        done.append("slow")

    loading = FirstVisit({"slow": slow, "next": lambda: done.append("next")}, grace=0)
    loading.begin()
    assert begun.wait(60)
    loading._stop.set()
    released.set()
    loading.end()
    loading.wait()
    assert done == ["slow"]


def test_nothing_is_loaded_beside_a_visit_but_while_it_waits() -> None:
    done: list[str] = []
    first, second = threading.Event(), threading.Event()

    def begin_a_visit() -> None:
        # The pause comes while the step runs.
        loading.pause()
        done.append("first")
        first.set()

    def go_on() -> None:
        done.append("second")
        second.set()

    class Waiting:
        connected = True

        def start(self) -> None:
            done.append("start")

        def stop(self) -> None:
            done.append("stop")

        def poll(self, seconds: float) -> list[ArrivalNotice]:
            assert second.wait(60)
            return []

        def close(self) -> None:
            done.append("close")

    steps = {"first": begin_a_visit, "second": go_on, "third": lambda: done.append("third")}
    loading = FirstVisit(steps, grace=0)
    loading.begin()
    assert first.wait(60)
    notices = LoadingWhileWaiting(Waiting(), loading)
    notices.start()
    assert "second" not in done
    assert list(notices.poll(1.0)) == []
    notices.stop()
    notices.close()
    assert notices.connected
    assert [one for one in done if one != "third"] == ["first", "start", "second", "stop", "close"]
    with loading.idle():
        loading.wait()
    assert done.count("third") == 1


def test_visit_that_comes_at_once_meets_no_loading() -> None:
    done: list[str] = []
    loading = FirstVisit({"step": lambda: done.append("step")}, grace=60)
    loading.begin()
    loading.pause()
    loading.end()
    loading.wait()
    assert done == []


def test_worker_that_never_was_ready_may_end() -> None:
    FirstVisit({}).end()


@pytest.mark.parametrize("module", first_visit._MODULES)
def test_modules_exist(module: str) -> None:
    assert find_spec(module) is not None


def test_each_step_has_a_name_that_a_log_can_quote() -> None:
    assert all(callable(load) and name == name.strip() for name, load in STEPS.items())
