"""Freed memory is used again, by whichever thread."""

from __future__ import annotations

import os
import subprocess
import sys

_REUSED = """
import threading
from pathlib import Path
from prompt_processing.settings.freed_memory import reuse_freed_memory
reuse_freed_memory()
import numpy as np

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

def faults():
    return int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[7])

np.ones(16_000_000, np.float32)
kept, before = resident(), faults()
np.ones(16_000_000, np.float32)
assert faults() - before < 100, faults() - before

small = []
def work():
    small.append([np.ones(25_000, np.float32) for _ in range(100)])
for _ in range(4):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
assert resident() < kept + 10, (kept, resident())
"""


def test_memory_of_a_plane_is_used_again_by_every_thread() -> None:
    # In a process of its own, because the choice is for the whole process.
    subprocess.run(
        [sys.executable, "-c", _REUSED], check=True, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    )
