from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from prompt_processing.images.fits import read_exposure
from prompt_processing.instruments import read_raw
from prompt_processing.simulation import build_night

pytestmark = pytest.mark.integration

INTERRUPTED = """
import signal, sys
from prompt_processing.simulation import build_night

def interrupt(number, frame):
    raise KeyboardInterrupt

if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    try:
        build_night(sys.argv[1], "LSSTCam", [94], n_visits=4, workers=2, n_template=1)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_number_of_processes_does_not_matter(tmp_path: Path) -> None:
    alone, together = (
        build_night(
            tmp_path / str(workers),
            "LATISS",
            [0],
            n_visits=1,
            workers=workers,
            miniature=(30, 60),
            n_template=1,
        )
        for workers in (1, 2)
    )
    frames = read_raw(alone.raws[0]), read_raw(together.raws[0])
    for one, other in zip(frames[0].segments, frames[1].segments, strict=True):
        assert np.array_equal(one.data, other.data)
    assert len(alone.templates) == len(together.templates) > 0
    for template, same in zip(alone.templates, together.templates, strict=True):
        first, second = read_exposure(template.path), read_exposure(same.path)
        # The files' compression dithers.
        noise = float(np.sqrt(np.nanmedian(first.variance)))
        assert np.allclose(first.image, second.image, rtol=0, atol=0.3 * noise, equal_nan=True)


def children_of(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
@pytest.mark.parametrize("to_group", [False, True], ids=["SIGTERM", "Ctrl-C"])
def test_interrupted_simulation_ends_its_processes(tmp_path: Path, to_group: bool) -> None:
    script = tmp_path / "night.py"
    script.write_text(INTERRUPTED)
    night = tmp_path / "night"
    with subprocess.Popen(
        [sys.executable, str(script), str(night)], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        # Both workers, and the process that keeps track of their resources.
        while process.poll() is None and len(children_of(process.pid)) < 3:
            time.sleep(0.05)
        children = children_of(process.pid)
        time.sleep(1)
        if to_group:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == ""
    assert len(children) == 3
    while any(Path(f"/proc/{child}").exists() for child in children):
        time.sleep(0.05)
    # Nothing that was waiting was begun.
    assert not (night / "night.json").exists()
    assert len(list((night / "unobserved").rglob("*.truth.parquet"))) < 4
