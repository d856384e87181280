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
    patches_per_side
        Patches along one side, if they are not those of the whole map.
    centre
        Pixel of the centre, from that of the lower left of patch 0 without its overlap; by default the
        middle of the patches.
    """

    id: int
    ra: float
    dec: float
    patches_per_side: int | None = None
    centre: float | None = None


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
    clipped
        Whether images of patches end where their tract does, as in sky maps of the stack without cells.
    """

    name: str
    pixel_scale: float
    patch_size: int
    patch_overlap: int
    patches_per_side: int
    tracts: tuple[Tract, ...]
    clipped: bool = False

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
        if 0 <= tract_id < len(self.tracts) and self.tracts[tract_id].id == tract_id:
            return self.tracts[tract_id]
        for tract in self.tracts:
            if tract.id == tract_id:
                return tract
        raise KeyError(f"Sky map {self.name!r} has no tract {tract_id}.")

    def patch_wcs(self, tract_id: int, patch: int) -> WCS:
        """Return the TAN projection of a patch image; pixel (0, 0) is its lower left."""
        tract = self.tract(tract_id)
        (x0, x1), (y0, y1) = self._patch_box(tract, patch)
        wcs = self._tract_wcs(tract, x0, y0)
        wcs.pixel_shape = (x1 - x0, y1 - y0)
        return wcs

    def patch_region(self, tract_id: int, patch: int) -> ConvexPolygon:
        """Return the outline of a patch image, overlap included."""
        tract = self.tract(tract_id)
        (x0, x1), (y0, y1) = self._patch_box(tract, patch)
        return _box_region(self._tract_wcs(tract, x0, y0), (y1 - y0, x1 - x0))

    def tract_region(self, tract_id: int) -> ConvexPolygon:
        """Return the outline of a tract, including the overlap of its patches."""
        tract = self.tract(tract_id)
        border = 0 if self.clipped else self.patch_overlap
        width = self._patches_per_side(tract) * self.patch_size + 2 * border
        return _box_region(self._tract_wcs(tract, -border, -border), (width, width))

    def _patches_per_side(self, tract: Tract) -> int:
        return self.patches_per_side if tract.patches_per_side is None else tract.patches_per_side

    def _patch_box(self, tract: Tract, patch: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the first column and the one after the last, and the rows, of a patch in its tract."""
        number = self._patches_per_side(tract)
        if not 0 <= patch < number**2:
            raise KeyError(f"Tract {tract.id} of sky map {self.name!r} has no patch {patch}.")
        low, high = (0, number * self.patch_size) if self.clipped else (None, None)

        def span(index: int) -> tuple[int, int]:
            first = index * self.patch_size - self.patch_overlap
            last = (index + 1) * self.patch_size + self.patch_overlap
            return (
                first if low is None else max(first, low),
                last if high is None else min(last, high),
            )

        return span(patch % number), span(patch // number)

    def _tract_wcs(self, tract: Tract, x0: int, y0: int) -> WCS:
        """Return the projection of a tract for an image whose lower left is at one of its pixels."""
        centre = tract.centre
        if centre is None:
            centre = self._patches_per_side(tract) * self.patch_size / 2 - 0.5
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.crval = [tract.ra, tract.dec]
        wcs.wcs.cdelt = [-self.pixel_scale / 3600, self.pixel_scale / 3600]
        wcs.wcs.crpix = [centre - x0 + 1, centre - y0 + 1]
        wcs.wcs.set()
        return wcs

    @staticmethod
    def footprint_region(exposure: Exposure) -> ConvexPolygon:
        """Return the outline of an image with a WCS."""
        return _box_region(exposure.wcs, exposure.shape)

    def find(self, region: Region) -> list[tuple[int, int]]:
        """Return each ``(tract, patch)`` whose image overlaps a region."""
        return [
            (tract.id, patch)
            for tract in self._near(region)
            if not self.tract_region(tract.id).isDisjointFrom(region)
            for patch in range(self._patches_per_side(tract) ** 2)
            if not self.patch_region(tract.id, patch).isDisjointFrom(region)
        ]

    def _near(self, region: Region) -> list[Tract]:
        """Return the tracts whose circumscribed circle reaches a region's: an all-sky map has thousands."""
        circle = region.getBoundingCircle()
        ra, dec = np.radians([[tract.ra, tract.dec] for tract in self.tracts]).T
        vectors = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
        distance = np.arccos(np.clip(vectors @ np.asarray(circle.getCenter()), -1, 1))
        widths = [
            self._patches_per_side(tract) * self.patch_size + 2 * self.patch_overlap + 1
            for tract in self.tracts
        ]
        radius = np.arctan(np.radians(np.array(widths) * self.pixel_scale / 3600) / 2**0.5)
        reach = circle.getOpeningAngle().asRadians() + radius
        return [self.tracts[i] for i in np.flatnonzero(distance <= reach)]

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
            for patch in range(self._patches_per_side(tract) ** 2):
                yield (
                    "patch",
                    {
                        "skymap": self.name,
                        "tract": tract.id,
                        "id": patch,
                        "cell_x": patch % self._patches_per_side(tract),
                        "cell_y": patch // self._patches_per_side(tract),
                        "region": self.patch_region(tract.id, patch),
                    },
                )

    def to_json(self) -> str:
        """Serialise to JSON."""
        document = asdict(self)
        # Without what has its default value, so that the digest of older maps stays the same.
        document["tracts"] = [_not_none(tract) for tract in document["tracts"]]
        if not self.clipped:
            del document["clipped"]
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> SkyMap:
        """Read the document of `to_json`."""
        fields = json.loads(text)
        fields["tracts"] = tuple(Tract(**tract) for tract in fields["tracts"])
        return cls(**fields)

    def model_dump_json(self) -> str:
        """Return `to_json`, under the name that the Butler's formatter of JSON calls."""
        return self.to_json()

    @classmethod
    def model_validate_json(cls, text: bytes) -> SkyMap:
        """Return `from_json`, under the name that the Butler's formatter of JSON calls."""
        return cls.from_json(text.decode())

    def _digest(self) -> bytes:
        from hashlib import sha1

        return sha1(self.to_json().encode(), usedforsecurity=False).digest()


def _not_none(values: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


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
