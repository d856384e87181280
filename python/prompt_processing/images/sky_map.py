"""Tracts and patches, which divide the sky for coadds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from astropy.wcs import WCS
from lsst.sphgeom import ConvexPolygon, LonLat, Region, UnitVector3d

from .exposure import Exposure


@dataclass(frozen=True, slots=True)
class Tract:
    """One tangent plane, divided into square patches.

    Attributes
    ----------
    id
        Tract number.
    ra, dec
        Centre, ICRS degrees.
    """

    id: int
    ra: float
    dec: float


@dataclass(frozen=True, slots=True)
class SkyMap:
    """Tracts with a common pixel scale and patch layout.

    Attributes
    ----------
    name
        The ``skymap`` dimension.
    pixel_scale
        Arcseconds per pixel.
    patch_size, patch_overlap
        Inner width of a patch, and width of the border that its image adds
        on every side, pixels.
    patches_per_side
        Patches along one side of a tract; patch ``n`` is at column
        ``n % patches_per_side``, row ``n // patches_per_side``.
    tracts
        In order of id.
    """

    name: str
    pixel_scale: float
    patch_size: int
    patch_overlap: int
    patches_per_side: int
    tracts: tuple[Tract, ...]

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Height and width of a patch image, overlap included, pixels."""
        width = self.patch_size + 2 * self.patch_overlap
        return width, width

    def tract(self, tract_id: int) -> Tract:
        """Return a tract by its id.

        Raises
        ------
        KeyError
            Raised if there is no such tract.
        """
        for tract in self.tracts:
            if tract.id == tract_id:
                return tract
        raise KeyError(f"Sky map {self.name!r} has no tract {tract_id}.")

    def patch_wcs(self, tract_id: int, patch: int) -> WCS:
        """Return the TAN projection of a patch image; pixel (0, 0) is its lower left."""
        tract = self.tract(tract_id)
        column, row = patch % self.patches_per_side, patch // self.patches_per_side
        middle = self.patches_per_side * self.patch_size / 2
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.crval = [tract.ra, tract.dec]
        wcs.wcs.cdelt = [-self.pixel_scale / 3600, self.pixel_scale / 3600]
        wcs.wcs.crpix = [
            middle - column * self.patch_size + self.patch_overlap + 0.5,
            middle - row * self.patch_size + self.patch_overlap + 0.5,
        ]
        wcs.pixel_shape = (self.patch_shape[1], self.patch_shape[0])
        wcs.wcs.set()
        return wcs

    def patch_region(self, tract_id: int, patch: int) -> ConvexPolygon:
        """Return the outline of a patch image, overlap included."""
        return _box_region(self.patch_wcs(tract_id, patch), self.patch_shape)

    def tract_region(self, tract_id: int) -> ConvexPolygon:
        """Return the outline of a tract, including the overlap of its patches."""
        last = self.patches_per_side**2 - 1
        corners = []
        for patch, corner in (
            (0, 0),
            (self.patches_per_side - 1, 1),
            (last, 2),
            (last - self.patches_per_side + 1, 3),
        ):
            corners.append(_corner_vectors(self.patch_wcs(tract_id, patch), self.patch_shape)[corner])
        return ConvexPolygon(corners)

    @staticmethod
    def footprint_region(exposure: Exposure) -> ConvexPolygon:
        """Return the outline of an image with a WCS."""
        return _box_region(exposure.wcs, exposure.shape)

    def find(self, region: Region) -> list[tuple[int, int]]:
        """Return each ``(tract, patch)`` whose image overlaps a region."""
        return [
            (tract.id, patch)
            for tract in self.tracts
            if not self.tract_region(tract.id).isDisjointFrom(region)
            for patch in range(self.patches_per_side**2)
            if not self.patch_region(tract.id, patch).isDisjointFrom(region)
        ]

    def dimension_records(self) -> Iterator[tuple[str, dict[str, object]]]:
        """Yield ``(element, fields)`` of the skymap, tract and patch records of a Butler."""
        yield (
            "skymap",
            {
                "name": self.name,
                "hash": self._digest(),
                "tract_max": max(tract.id for tract in self.tracts) + 1,
                "patch_nx_max": self.patches_per_side,
                "patch_ny_max": self.patches_per_side,
            },
        )
        for tract in self.tracts:
            yield (
                "tract",
                {"skymap": self.name, "id": tract.id, "region": self.tract_region(tract.id)},
            )
            for patch in range(self.patches_per_side**2):
                yield (
                    "patch",
                    {
                        "skymap": self.name,
                        "tract": tract.id,
                        "id": patch,
                        "cell_x": patch % self.patches_per_side,
                        "cell_y": patch // self.patches_per_side,
                        "region": self.patch_region(tract.id, patch),
                    },
                )

    def to_json(self) -> str:
        """Serialise to JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SkyMap:
        """Read the document of `to_json`."""
        fields = json.loads(text)
        fields["tracts"] = tuple(Tract(**tract) for tract in fields["tracts"])
        return cls(**fields)

    def _digest(self) -> bytes:
        from hashlib import sha1

        return sha1(self.to_json().encode(), usedforsecurity=False).digest()


def _corner_vectors(wcs: WCS, shape: tuple[int, int]) -> list[UnitVector3d]:
    height, width = shape
    ra, dec = wcs.all_pix2world(
        np.array([-0.5, width - 0.5, width - 0.5, -0.5]),
        np.array([-0.5, -0.5, height - 0.5, height - 0.5]),
        0,
    )
    return [UnitVector3d(LonLat.fromDegrees(a, d)) for a, d in zip(ra, dec, strict=True)]


def _box_region(wcs: WCS, shape: tuple[int, int]) -> ConvexPolygon:
    return ConvexPolygon(_corner_vectors(wcs, shape))
