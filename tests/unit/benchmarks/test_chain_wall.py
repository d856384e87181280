from __future__ import annotations

import os
from pathlib import Path

from chain.scenes import REGIMES, make_scene
from chain.wall import measure_wall


def test_wall_clock_is_that_of_a_process_with_as_many_cores_as_asked(tmp_path: Path) -> None:
    scene = make_scene(REGIMES["typical"], 15, (520, 520), tmp_path)
    before = os.sched_getaffinity(0)
    times = measure_wall(scene.science, scene.template, cores=2, repeats=1)
    assert times.cores == min(2, os.cpu_count() or 1)
    assert times.repeats == 1
    assert 0 < times.subtraction < times.everything
    assert os.sched_getaffinity(0) == before
