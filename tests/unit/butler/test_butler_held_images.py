"""Images held for a visit: which are let go."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import numpy as np

from prompt_processing.butler.local.held_images import HeldImages
from prompt_processing.images import Exposure

PLANE = (16, 32)


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
