"""A central repository with the inputs of a whole focal plane, each of them small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table
from astropy.time import Time, TimeDelta

from prompt_processing.images import Defects, Exposure, SkyMap, Tract
from prompt_processing.images.fits import write_exposure
from prompt_processing.instruments.camera import Camera
from prompt_processing.instruments.geometry import detector_region
from prompt_processing.repository.content import CalibrationProduct, RepositoryContent, Template

INSTRUMENT = "LSSTCam"
FILTER, BAND = "r_57", "r"
FIELDS = ((150.0, 2.0, 30.0), (150.8, 1.6, 75.0))
"""RA, Dec and rotation of the fields that the telescope points at, degrees; neighbours, so that one tract
holds both."""

SKY_MAP = "load"
_PIXEL, _PATCH, _OVERLAP, _PATCHES = 0.2, 4000, 100, 22
_BREAK = Time("2026-01-01T12:00:00", scale="tai")


def make_content(folder: Path, camera: Camera, detectors: Sequence[int]) -> RepositoryContent:
    """Make the inputs of some detectors in both fields.

    Calibrations have two epochs, as after an exchange of hardware, and flats
    two filters; patches are 13 arcminutes wide, as the survey's, so that a
    detector needs four to nine of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / "image.fits"
    write_exposure(image, Exposure.blank((16, 16)))
    defects = folder / "defects.fits"
    Defects(np.zeros((0, 4), np.int32)).write_fits(defects)
    ra, dec = np.mean([field[:2] for field in FIELDS], axis=0)
    sky_map = SkyMap(SKY_MAP, _PIXEL, _PATCH, _OVERLAP, _PATCHES, (Tract(1, float(ra), float(dec)),))

    def calibrations() -> Iterator[CalibrationProduct]:
        for number in detectors:
            for begin, end in ((_BREAK - TimeDelta(365.0, format="jd"), _BREAK), (_BREAK, None)):
                yield CalibrationProduct("bias", number, image, begin=begin, end=end)
                yield CalibrationProduct("dark", number, image, begin=begin, end=end)
                for physical_filter in (FILTER, "g_6"):
                    yield CalibrationProduct("flat", number, image, physical_filter, begin=begin, end=end)
            yield CalibrationProduct("defects", number, defects)

    return RepositoryContent(
        sky_map,
        _stars(),
        calibrations(),
        (Template(1, patch, BAND, image) for patch in _seen_patches(sky_map, camera, detectors)),
        label="load",
    )


def _seen_patches(sky_map: SkyMap, camera: Camera, detectors: Sequence[int]) -> Iterator[int]:
    regions = [
        detector_region(camera, camera.detector(number), ra, dec, rotation, padding_arcsec=60.0)
        for ra, dec, rotation in FIELDS
        for number in detectors
    ]
    for patch in range(_PATCHES**2):
        outline = sky_map.patch_region(1, patch)
        if any(not outline.isDisjointFrom(region) for region in regions):
            yield patch


def _stars() -> Table:
    """Stars all over both fields, a few in each shard."""
    ra, dec = np.meshgrid(np.arange(147.8, 153.1, 0.25), np.arange(-0.6, 4.3, 0.25))
    ra, dec = ra.ravel(), dec.ravel()
    return Table(
        {
            "id": np.arange(ra.size),
            "ra": ra,
            "dec": dec,
            f"{BAND}_flux": np.full(ra.size, 1e5),
            f"{BAND}_fluxErr": np.ones(ra.size),
        }
    )
