"""Images held for a visit: which are let go, and that their memory goes with them."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from prompt_processing.butler.local.held_images import HeldImages
from prompt_processing.images import Exposure

MIB = 2**20
PLANE = (1024, 2048)
"""8 MiB each: less than what glibc would return by itself."""


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


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MIB


def test_coadds_are_let_go_and_other_images_stay():
    memory = Store()
    held = HeldImages(memory, Store())
    coadd, other = image_ref("skymap", "tract", "patch"), image_ref("instrument", "detector")
    held.hold([coadd, other], None)
    held.release([coadd, other])
    assert list(memory.images) == [other.id]
    held.release([coadd])
    assert list(memory.images) == [other.id]


def test_the_memory_of_coadds_goes_back_to_the_system():
    # Once glibc has seen a large block freed, it keeps all that are smaller.
    threshold = np.ones(30 * MIB, np.uint8)
    del threshold
    memory = Store()
    held = HeldImages(memory, Store())
    coadds = [image_ref("tract", "patch") for _ in range(6)]
    held.hold(coadds, None)
    # Something that lives on above them, as in any worker.
    above = [np.ones(MIB, np.uint8) for _ in range(8)]
    full = resident()
    held.release(coadds)
    assert full - resident() > 0.8 * 6 * 24
    assert len(above) == 8


_KEPT_AND_RETURNED = """
import numpy as np
from pathlib import Path
from prompt_processing.butler.local.held_images import return_freed_memory, reuse_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

reuse_freed_memory()
before = resident()
plane = np.ones(16_000_000, np.float32)
del plane
kept = resident()
return_freed_memory()
assert kept > before + 50, (before, kept)
assert resident() < kept - 50, (kept, resident())
"""


def test_memory_of_a_plane_is_kept_until_it_is_returned() -> None:
    # In a process of its own, because the choice is for the whole process.
    subprocess.run([sys.executable, "-c", _KEPT_AND_RETURNED], check=True)
