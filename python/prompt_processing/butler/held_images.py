"""Images that are read into memory before the tasks ask for them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import numpy as np
from lsst.daf.butler import DatasetRef
from lsst.sphgeom import Region

from prompt_processing.images import Exposure

__all__ = ["HeldImages", "return_freed_memory"]


class HeldImages:
    """The preloaded images of the visit at hand, in the in-memory part of a datastore.

    Of calibrations only the values are held, which are all that instrument
    signature removal uses of them; of coadds only what is under the detector.
    Whole exposures would take three gigabytes.

    Parameters
    ----------
    memory, files : `~lsst.daf.butler.Datastore`
        Where images are held, and where they are read.
    """

    def __init__(self, memory: Any, files: Any) -> None:
        self._memory = memory
        self._files = files
        self._held: dict[UUID, tuple[DatasetRef, Region | None]] = {}

    def hold(self, refs: Iterable[DatasetRef], region: Region | None) -> None:
        """Read images, and let go of those of the visit before.

        Parameters
        ----------
        refs : iterable of `~lsst.daf.butler.DatasetRef`
            What the visit needs; only images are read, other inputs are small.
        region : `~lsst.sphgeom.Region` or `None`
            What the detector may see; `None` if that is not known.
        """
        wanted = {ref.id: ref for ref in refs if ref.datasetType.storageClass_name == "ExposureF"}
        for identity, (ref, held_for) in list(self._held.items()):
            if identity not in wanted or not _serves(held_for, region):
                self._memory.remove(ref)
                del self._held[identity]
        for identity in wanted.keys() - self._held.keys():
            ref = wanted[identity]
            of_sky = "patch" in ref.datasetType.dimensions and region is not None
            if of_sky:
                image = self._files.get(ref, parameters={"region": region})
            elif ref.datasetType.isCalibration():
                image = self._values(ref)
            else:
                image = self._files.get(ref)
            self._memory.put(image, ref)
            self._held[identity] = ref, region if of_sky else None

    def release(self, refs: Iterable[DatasetRef]) -> None:
        """Let go of coadds that no task will ask for again; calibrations are the next visit's too."""
        before = len(self._held)
        for ref in refs:
            if "patch" in ref.datasetType.dimensions and self._held.pop(ref.id, None) is not None:
                self._memory.remove(ref)
        if len(self._held) < before:
            return_freed_memory()

    def forget(self, identities: Iterable[UUID]) -> None:
        """Take note that datasets were removed."""
        for identity in identities:
            self._held.pop(identity, None)

    def _values(self, ref: DatasetRef) -> Exposure:
        """Read an image without mask and variance: views of one zero stand for them."""
        image = self._files.get(ref.makeComponentRef("image"))
        image = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
        return Exposure(
            image,
            np.broadcast_to(np.int32(0), image.shape),
            np.broadcast_to(np.float32(0), image.shape),
            metadata=self._files.get(ref.makeComponentRef("metadata")),
        )


def return_freed_memory() -> None:
    """Give what has been freed back to the operating system, where the C library can.

    glibc keeps blocks of up to 32 MB for itself, as parts of a coadd are, while whole detectors' planes come
    from the system each time: the two never share memory, and a worker would need room for both.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _serves(held_for: Region | None, region: Region | None) -> bool:
    """Tell whether what was read for one region is enough for another."""
    return held_for is None or (region is not None and bool(held_for.contains(region)))
