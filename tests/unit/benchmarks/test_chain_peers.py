"""Peers must be told from each other by what they did, not by what went wrong around them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from chain import subtractors
from chain.subtract_worker import sfft_tiles

WORKER = """
import signal, sys, json, numpy as np
signal.setitimer(signal.ITIMER_PROF, float(sys.argv[4]))
{body}
numbers = json.dumps({{"seconds": 1.0, "cpu_seconds": 0.5, "remark": "as asked"}})
np.savez(sys.argv[3], difference=np.ones((4, 4), np.float32), numbers=numbers)
"""


def _subtract(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str) -> subtractors.PeerSubtraction:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER.format(body=body))
    monkeypatch.setattr(subtractors, "WORKER", worker)
    monkeypatch.setattr(subtractors, "peers_python", lambda name: sys.executable)
    image = np.zeros((4, 4), np.float32)
    return subtractors.subtract_with("ois", image, image, image > 0, (4.0, 3.0), tmp_path / "work", 0.3)


def test_subtraction_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = _subtract(monkeypatch, tmp_path, "while True: pass")
    assert done.difference is None
    assert done.remark == "gave up after 0 s"
    assert done.cpu_seconds == 0.3


def test_waiting_is_not_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = _subtract(monkeypatch, tmp_path, "import time; time.sleep(1.0)")
    assert done.difference is not None
    assert done.cpu_seconds == 0.5


def test_failure_is_told_in_the_package_s_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = _subtract(monkeypatch, tmp_path, "raise ValueError('singular matrix')")
    assert done.difference is None
    assert done.remark == "failed: ValueError: singular matrix"


def test_subtraction_that_the_system_ends_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    body = "import os; print('chatter', file=sys.stderr); os.kill(os.getpid(), signal.SIGKILL)"
    assert _subtract(monkeypatch, tmp_path, body).remark == "failed: ended by SIGKILL"


@pytest.mark.parametrize("shape", [(1400, 1400), (4072, 4000), (4096, 4004), (2501, 2503)])
def test_tiles_of_a_large_image_cover_every_pixel_once(shape: tuple[int, int]) -> None:
    counts = np.zeros(shape, np.int8)
    for tile, own in sfft_tiles(shape):
        counts[own] += 1
        assert all(t.start <= o.start < o.stop <= t.stop for t, o in zip(tile, own, strict=True))
        assert (tile[0].stop - tile[0].start) * (tile[1].stop - tile[1].start) < 2_200_000
    assert (counts == 1).all()
    assert len({tuple(t.stop - t.start for t in tile) for tile, _ in sfft_tiles(shape)}) == 1
