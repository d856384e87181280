"""How often, and when, a signal or the end of its time interrupts a visit."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from prompt_processing.activator.services.interruption import Interrupted, Interruption


def interrupts(number: signal.Signals) -> bool:
    """Send this process a signal; return whether it was raised here."""
    try:
        os.kill(os.getpid(), number)
        # The handler runs between two statements.
        for _ in range(1000):
            pass
    except Interrupted:
        return True
    return False


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP, signal.SIGALRM])
def test_second_signal_does_not_disturb_the_unwinding_of_the_first(second: signal.Signals) -> None:
    interruption = Interruption(600.0, 30.0)
    with interruption.watch():
        assert interrupts(signal.SIGTERM)
        assert not interrupts(second)


def test_each_visit_can_be_interrupted() -> None:
    interruption = Interruption(600.0, 30.0)
    for _ in range(2):
        with interruption.watch():
            assert interrupts(signal.SIGTERM)


def test_signal_in_a_held_block_is_raised_by_the_check_after_it() -> None:
    interruption = Interruption(600.0, 30.0)
    with interruption.watch():
        with interruption.held():
            assert not interrupts(signal.SIGTERM)
            interruption.check()
        with pytest.raises(Interrupted, match="SIGTERM"):
            interruption.check()


def test_finishing_block_has_the_grace_period_after_a_signal() -> None:
    # The shortest grace period that there is.
    interruption = Interruption(600.0, 0.0)
    with interruption.watch(), interruption.finishing():
        assert not interrupts(signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"):
            time.sleep(20.0)


def test_handlers_that_were_there_are_called_and_come_back() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with Interruption(600.0, 30.0).watch():
            assert interrupts(signal.SIGTERM)
        assert not interrupts(signal.SIGTERM)
        assert seen == [signal.SIGTERM, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_visit_that_takes_too_long_is_interrupted_with_the_limit_in_the_reason() -> None:
    with Interruption(0.05, 30.0).watch(), pytest.raises(Interrupted, match=r"WORKER_TIMEOUT, 0\.05 s"):
        time.sleep(20.0)


def test_interruption_that_a_task_swallows_is_raised_by_the_next_check() -> None:
    interruption = Interruption(600.0, 30.0)
    with interruption.watch():
        interruption.check()
        assert interrupts(signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"):
            interruption.check()
    with interruption.watch():
        interruption.check()


def test_end_of_an_inner_held_block_does_not_end_the_outer_one() -> None:
    interruption = Interruption(600.0, 30.0)
    with interruption.watch(), interruption.held():
        with interruption.held():
            pass
        assert not interrupts(signal.SIGTERM)


def test_after_a_finishing_block_a_signal_is_raised_at_once() -> None:
    interruption = Interruption(600.0, 600.0)
    with interruption.watch():
        with interruption.finishing():
            interruption.check()
        assert interrupts(signal.SIGTERM)


def test_grace_period_ends_with_the_visits_time() -> None:
    interruption = Interruption(0.1, 600.0)
    with interruption.watch(), interruption.finishing():
        assert not interrupts(signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"):
            time.sleep(20.0)


def test_second_signal_does_not_extend_the_grace_period() -> None:
    interruption = Interruption(600.0, 30.0)
    with interruption.watch(), interruption.finishing():
        assert not interrupts(signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, 10.0)
        assert not interrupts(signal.SIGHUP)
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 10.0


def test_visit_outside_the_main_thread_runs_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[bool] = []

    def visit() -> None:
        interruption = Interruption(600.0, 30.0)
        with interruption.watch():
            interruption.check()
        ended.append(True)

    thread = threading.Thread(target=visit)
    thread.start()
    thread.join()
    assert ended == [True]
    assert "Not in the main thread" in caplog.text


def test_alarm_that_was_set_before_goes_on_and_no_other_is_left() -> None:
    # pytest-timeout's own alarm.
    timer = signal.setitimer(signal.ITIMER_REAL, 0.0)
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    try:
        with Interruption(600.0, 30.0).watch():
            assert 500.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 600.0
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        signal.setitimer(signal.ITIMER_REAL, 300.0, 7.0)
        with Interruption(600.0, 30.0).watch():
            pass
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        assert 200.0 < left <= 300.0
        assert interval == 7.0
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)
