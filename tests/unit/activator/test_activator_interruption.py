"""How often, and when, a signal or the end of its time interrupts a visit."""

from __future__ import annotations

import os
import signal
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
