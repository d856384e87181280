"""Images held for a visit: which are let go."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.wcs import WCS
from lsst.sphgeom import Angle, Circle, LonLat, UnitVector3d

from prompt_processing.butler.local.held_images import HeldImages
from prompt_processing.images import Exposure, Mask

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
    return SimpleNamespace(id=uuid.uuid4(), datasetType=dataset_type, dataId=dict.fromkeys(dimensions, 0))


def test_images_are_let_go_once_and_read_again_for_the_next_visit():
    memory = Store()
    held = HeldImages(memory, Store())
    coadd, flat = image_ref("skymap", "tract", "patch"), image_ref("instrument", "detector")
    held.hold([coadd, flat], None)
    held.release([flat, image_ref("instrument", "detector")])
    assert list(memory.images) == [coadd.id]
    held.release([flat, coadd])
    assert not memory.images
    held.hold([coadd, flat], None)
    assert memory.images.keys() == {coadd.id, flat.id}


class Sky:
    """Coadds of two tracts, each in two patches that cover half a degree around RA 359.95, Dec -45."""

    def __init__(self):
        self.images = {
            (tract, patch): coadd(359.95 + (patch - 0.5) * 0.35) for tract in (7, 12) for patch in (0, 1)
        }
        self.read = []

    def get(self, ref, parameters=None):
        place = ref.dataId["tract"], ref.dataId["patch"]
        self.read.append(place)
        return self.images[place]


class Memory(Store):
    """What `HeldImages` asks of the part in memory."""

    def get(self, ref):
        return self.images[ref.id]


def coadd(ra):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, -45.0], [101, 101]
    wcs.wcs.cdelt = [-0.0025, 0.0025]
    shape = (201, 201)
    planes = (np.ones(shape, dtype) for dtype in (np.float32, np.int32, np.float32))
    return Exposure(*planes, wcs)


def coadds():
    dataset_type = SimpleNamespace(
        name="template_coadd", storageClass_name="ExposureF", dimensions=("skymap", "tract", "patch")
    )
    places = [(12, 0), (7, 1), (12, 1), (7, 0)]
    return [
        SimpleNamespace(
            id=place, datasetType=dataset_type, dataId=dict(zip(("tract", "patch"), place, strict=True))
        )
        for place in places
    ]


def field(radius_deg):
    return Circle(UnitVector3d(LonLat.fromDegrees(359.95, -45.0)), Angle.fromDegrees(radius_deg))


def test_coadds_behind_those_of_an_earlier_tract_are_not_read():
    sky = Sky()
    held = HeldImages(Memory(), sky)
    held.hold(coadds(), field(0.2))
    assert sky.read == [(7, 0), (7, 1)]
    # Nor again for the next visit of the field.
    held.hold(coadds(), field(0.2))
    assert len(sky.read) == 2


@pytest.mark.parametrize("plane", ["image", "variance", "mask", "edge"])
def test_coadds_behind_a_gap_are_read(plane):
    sky = Sky()
    first = sky.images[7, 1]
    match plane:
        case "mask":
            first.mask[10, 10] |= int(Mask.NO_DATA)
        case "edge":
            sky.images[7, 1] = coadd(360.6)
        case _:
            getattr(first, plane)[10, 10] = np.nan
    HeldImages(Memory(), sky).hold(coadds(), field(0.2))
    assert sky.read[:3] == [(7, 0), (7, 1), (12, 0)]


def test_coadds_that_leave_a_margin_are_read():
    sky = Sky()
    HeldImages(Memory(), sky).hold(coadds(), field(0.4))
    assert len(sky.read) == 4
