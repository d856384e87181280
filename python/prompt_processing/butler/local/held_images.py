"""Images that are read into memory before the tasks need them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import numpy as np
from lsst.daf.butler import DatasetRef
from lsst.sphgeom import Region

from prompt_processing.domain.planes import new_plane
from prompt_processing.images import Exposure

from .sky_cover import SkyCover

__all__ = ["HeldImages"]

_LOG = logging.getLogger("lsst.activator.storage.held_images")


class HeldImages:
    """The preloaded images of the current visit, in the in-memory part of a datastore.

    Calibrations are held without mask and variance, which instrument signature
    removal does not use. Coadds have a mask of 16 bits, and are held only where the detector overlaps them,
    and only if those of earlier tracts leave a gap: the task that combines them
    asks for the others only then, and finds them in their files. Whole exposures
    would take three gigabytes.

    Parameters
    ----------
    memory, files : `~lsst.daf.butler.Datastore`
        Destination and source of the images.
    """

    def __init__(self, memory: Any, files: Any) -> None:
        self._memory = memory
        self._files = files
        self._held: dict[UUID, tuple[DatasetRef, Region | None]] = {}

    def hold(self, refs: Iterable[DatasetRef], region: Region | None) -> None:
        """Read images, and release those of the previous visit.

        Parameters
        ----------
        refs : iterable of `~lsst.daf.butler.DatasetRef`
            Inputs of the visit; only images are read, because other inputs are small.
        region : `~lsst.sphgeom.Region` or `None`
            Padded sky region of the detector; `None` if unknown.
        """
        wanted = {ref.id: ref for ref in refs if ref.datasetType.storageClass_name == "ExposureF"}
        for identity, (ref, held_for) in list(self._held.items()):
            if identity not in wanted or not _serves(held_for, region):
                self._memory.remove(ref)
                del self._held[identity]
        covers: dict[str, SkyCover] = {}
        for ref in sorted(wanted.values(), key=_place):
            cover = None
            if "patch" in ref.datasetType.dimensions and region is not None:
                cover = covers.setdefault(ref.datasetType.name, SkyCover(region))
                if cover.is_full:
                    continue
            is_held = ref.id in self._held or self._read(ref, region)
            if is_held and cover is not None:
                cover.add(self._memory.get(ref))

    def _read(self, ref: DatasetRef, region: Region | None) -> bool:
        of_sky = "patch" in ref.datasetType.dimensions and region is not None
        try:
            if of_sky:
                image = self._files.get(ref, parameters={"region": region})
                # Half of the bits are never set.
                mask = new_plane(image.shape, np.int16)
                mask[...] = image.mask
                image.mask = mask
            elif ref.datasetType.isCalibration():
                image = self._values(ref)
            else:
                image = self._files.get(ref)
        # Any error of a reader: it matters only if a task needs the file, and is raised again then.
        except Exception as error:  # noqa: BLE001
            _LOG.warning("%s of %s cannot be read: %s", ref.datasetType.name, ref.dataId, error)
            return False
        self._memory.put(image, ref)
        self._held[ref.id] = ref, region if of_sky else None
        return True

    def release(self, refs: Iterable[DatasetRef]) -> None:
        """Release images that no task will read again.

        The next visit may use the same. To read calibrations again takes less time than templates, and they
        would be three of the planes that are in memory when most of it is used.
        """
        for ref in refs:
            if self._held.pop(ref.id, None) is not None:
                self._memory.remove(ref)

    def forget(self, identities: Iterable[UUID]) -> None:
        """Forget datasets that were removed from the repository."""
        for identity in identities:
            self._held.pop(identity, None)

    def _values(self, ref: DatasetRef) -> Exposure:
        """Read an image with views of a single zero as mask and variance."""
        image = self._files.get(ref.makeComponentRef("image"))
        image = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
        return Exposure(
            image,
            np.broadcast_to(np.int32(0), image.shape),
            np.broadcast_to(np.float32(0), image.shape),
            metadata=self._files.get(ref.makeComponentRef("metadata")),
        )


def _place(ref: DatasetRef) -> tuple[int, ...]:
    """Return the tract and patch of a coadd, in the order in which they are combined."""
    return tuple(int(ref.dataId[name]) for name in ("tract", "patch") if name in ref.datasetType.dimensions)


def _serves(held_for: Region | None, region: Region | None) -> bool:
    """Return whether an image read for one region covers another region."""
    return held_for is None or (region is not None and bool(held_for.contains(region)))
