"""Every service is asked to stop, and refuses to start, in the same way."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.service_loop import asked_to_stop, asked_to_stop_async, report_unusable


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_asks_to_stop(number: signal.Signals) -> None:
    stop = asked_to_stop(signal.SIGHUP)
    assert not stop.is_set()
    os.kill(os.getpid(), number)
    assert stop.wait(10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_asks_a_loop_to_stop(number: signal.Signals) -> None:
    async def run() -> None:
        stop = asked_to_stop_async()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 10)

    asyncio.run(run())


def test_unusable_settings_are_reported_with_a_status_of_their_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report_unusable(SettingsError({"SKYMAP": "not set"})) == 3
    assert "SKYMAP: not set" in capsys.readouterr().err
