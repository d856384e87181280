"""Images held for a visit: which are let go, and what becomes of their memory."""

from __future__ import annotations

import subprocess
import sys
import uuid
from types import SimpleNamespace

import numpy as np

from prompt_processing.butler.local.held_images import HeldImages
from prompt_processing.images import Exposure

PLANE = (2, 3)


class Store:
    """What `HeldImages` asks of a datastore."""

    def __init__(self):
        self.images = {}

    def get(self, ref, parameters=None):
        return Exposure(*(np.ones(PLANE, dtype) for dtype in (np.float32, np.int32, np.float32)))

    def put(self, image, ref):
        self.images[ref.id] = image

    def remove(self, ref):
        del self.images[ref.id]


def image_ref(*dimensions):
    dataset_type = SimpleNamespace(
        storageClass_name="ExposureF", dimensions=dimensions, isCalibration=lambda: False
    )
    return SimpleNamespace(id=uuid.uuid4(), datasetType=dataset_type)


def test_coadds_are_let_go_and_other_images_stay():
    memory = Store()
    held = HeldImages(memory, Store())
    coadd, other = image_ref("skymap", "tract", "patch"), image_ref("instrument", "detector")
    held.hold([coadd, other], None)
    held.release([coadd, other])
    assert list(memory.images) == [other.id]
    held.release([coadd])
    assert list(memory.images) == [other.id]


_KEPT_AND_RETURNED = """
import numpy as np
from pathlib import Path
from prompt_processing.butler.local.held_images import (
    VISITS_PER_RETURN, FreedMemory, reuse_freed_memory
)

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

reuse_freed_memory()
memory = FreedMemory()
before = resident()

def visit(is_first):
    plane = np.ones(16_000_000, np.float32)
    # Something that lives on above it, as in any worker.
    above.append(np.ones(2**20, np.uint8))
    del plane
    memory.end_visit(is_first=is_first)
    return resident() - before

above = []
assert visit(is_first=True) < 30
kept = [visit(is_first=False) for _ in range(VISITS_PER_RETURN - 2)]
# One plane's memory serves all visits.
assert all(50 < size < 100 for size in kept), kept
assert visit(is_first=False) < 30
"""


def test_memory_of_visits_is_reused_and_returned_now_and_then() -> None:
    # In a process of its own, because the choice is for the whole process.
    subprocess.run([sys.executable, "-c", _KEPT_AND_RETURNED], check=True)
