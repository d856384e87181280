"""Our exposures as objects of ``lsst.images``, which share their pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import astropy.units
import numpy as np
from astro_metadata_translator import ObservationInfo, makeObservationInfo
from astropy.coordinates import Angle, SkyCoord
from astropy.io import fits
from astropy.time import Time, TimeDelta
from astropy.wcs import WCS
from lsst.images import (
    Box,
    DifferenceImage,
    Image,
    MaskedImage,
    MaskPlane,
    MaskSchema,
    MaskSerializationModel,
    VisitImage,
)
from lsst.images import Mask as FieldMask
from lsst.images.fields import ChebyshevField
from lsst.images.psfs import GaussianPointSpreadFunction
from lsst.images.serialization import NumberType, OutputArchive
from numpy.typing import NDArray

from prompt_processing.images.exposure import Exposure
from prompt_processing.images.mask import Mask as OurMask

from .detector import field_detector
from .fields import field_photo_calib
from .identity import Identity
from .names import DIFFERENCES, FIELD_PLANES, VISIT_IMAGES
from .projection import pixel_frame, plain_frame, sky_projection
from .psf_model import PixelGridPsf
from .psf_text import psf_metadata

__all__ = ["ViewedMask", "field_image", "unit_of"]

UNKNOWN = "unknown"


def field_image(exposure: Exposure, identity: Identity) -> MaskedImage:
    """Return an exposure as the type of ``lsst.images`` that holds it.

    Parameters
    ----------
    exposure
        The exposure; its pixels are not copied.
    identity
        What is known of the dataset beside its content.

    Returns
    -------
    image
        A ``DifferenceImage``, a ``VisitImage``, or for whatever is neither a ``MaskedImage``, which has no
        PSF.

    Notes
    -----
    The types of visits require a WCS and a PSF. Where the exposure has none, ``wcs_is_known`` or
    ``psf_is_known`` in the metadata is false, and stand-ins take their places.
    """
    identity = _completed(identity, exposure)
    unit = unit_of(exposure)
    bbox = Box.from_shape(exposure.shape)
    of_visit = identity.dataset_type in VISIT_IMAGES | DIFFERENCES
    if not identity.dataset_type:
        of_visit = exposure.visit_info is not None and exposure.psf is not None and exposure.wcs is not None
    metadata: dict[str, Any] = {}
    wcs = exposure.wcs
    if of_visit and wcs is None:
        wcs = _stand_in_wcs(exposure)
        metadata["wcs_is_known"] = False
    projection = None
    if wcs is not None:
        frame: Any = plain_frame()
        if identity.instrument is not None and identity.detector is not None:
            frame = pixel_frame(identity.instrument, identity.detector, identity.visit, bbox)
        elif of_visit:
            frame = pixel_frame(UNKNOWN, 0, identity.visit, bbox)
        projection = sky_projection(wcs, frame)
    planes: dict[str, Any] = {
        "mask": ViewedMask(exposure.mask, bbox),
        "variance": Image(exposure.variance, bbox=bbox, unit=None if unit is None else unit**2),
        "sky_projection": projection,
    }
    if exposure.psf is not None:
        metadata |= psf_metadata(exposure.psf)
    planes["metadata"] = metadata
    if not of_visit:
        return MaskedImage(Image(exposure.image, bbox=bbox, unit=unit), **planes)
    if exposure.psf is None:
        # The type requires one; the metadata says that it is a stand-in.
        psf: Any = GaussianPointSpreadFunction(1.0, bbox, 11)
        metadata["psf_is_known"] = False
    else:
        psf = PixelGridPsf(exposure.psf, bbox)
    kind = DifferenceImage if identity.dataset_type in DIFFERENCES else VisitImage
    return kind(
        Image(exposure.image, bbox=bbox, unit=unit or astropy.units.electron),
        psf=psf,
        obs_info=_obs_info(exposure, identity),
        detector=field_detector(
            identity.instrument or UNKNOWN, identity.detector or 0, exposure.shape, identity.visit
        ),
        photometric_scaling=_scaling(exposure, unit or astropy.units.electron),
        band=identity.band or UNKNOWN,
        **planes,
    )


def unit_of(exposure: Exposure) -> astropy.units.UnitBase | None:
    """Return the unit of the pixels, `None` if unknown."""
    if exposure.photo_calib is not None and exposure.photo_calib.njy_per_unit == 1.0:
        return astropy.units.nJy
    text = exposure.metadata.get("BUNIT")
    if text is None:
        return None
    try:
        return astropy.units.Unit(str(text).replace("ADU", "adu"))
    except ValueError:
        return None


class ViewedMask(FieldMask):
    """A mask whose pixels are our 32-bit integers.

    Parameters
    ----------
    bits : `~numpy.ndarray` of int32, shape (height, width)
        Bits of `~prompt_processing.images.Mask`.
    bbox
        Box of the pixels.
    """

    def __init__(self, bits: NDArray[np.int32], bbox: Box, projection: Any = None) -> None:
        self._bits = np.ascontiguousarray(bits, "<i4")
        planes = [MaskPlane(name, description) for name, description in FIELD_PLANES.values()]
        # Of the four bytes of an integer, those which have no plane are reserved.
        schema = MaskSchema([*planes, *([None] * (32 - len(planes)))])
        super().__init__(
            self._bits.view(np.uint8).reshape(*bits.shape, 4),
            schema=schema,
            bbox=bbox,
            sky_projection=projection,
        )

    def view(self, *, sky_projection: Any = ..., **kwargs: Any) -> Any:
        """Return a view with another projection; any other change makes a mask of the base class."""
        if kwargs:
            return super().view(sky_projection=sky_projection, **kwargs)
        projection = self.sky_projection if sky_projection is ... else sky_projection
        return ViewedMask(self._bits, self.bbox, projection)

    def serialize(
        self,
        archive: OutputArchive[Any],
        *,
        update_header: Callable[[fits.Header], None] = lambda header: None,
        **kwargs: Any,
    ) -> MaskSerializationModel[Any]:
        """Describe the mask; the base class would copy each plane to a new array."""
        planes: list[MaskPlane | None] = [plane for plane in self.schema if plane is not None]

        def describe(header: fits.Header) -> None:
            update_header(header)
            for card in _mask_cards():
                header.append(card, bottom=True)

        array = archive.add_array(self._bits, update_header=describe)
        return MaskSerializationModel.model_construct(
            data=[array],
            yx0=list(self.bbox.start),
            planes=planes,
            dtype=NumberType.uint8,
            sky_projection=None,
        )


@cache
def _mask_cards() -> tuple[fits.Card, ...]:
    """Return the cards that describe the planes, which are the same for all masks."""
    header = fits.Header()
    planes = [MaskPlane(name, description) for name, description in FIELD_PLANES.values()]
    MaskSchema(planes, dtype=np.int32).update_header(header)
    # For readers of the older layout, which have names of their own.
    for name, bit in OurMask.plane_numbers().items():
        header.set(f"MP_{name}", bit, "mask plane: bit")
    return tuple(header.cards)


def _completed(identity: Identity, exposure: Exposure) -> Identity:
    info = exposure.visit_info
    if info is None:
        return identity
    return replace(
        identity,
        instrument=identity.instrument or info.instrument,
        detector=info.detector if identity.detector is None else identity.detector,
        visit=info.exposure if identity.visit is None else identity.visit,
        physical_filter=identity.physical_filter or info.physical_filter,
        band=identity.band or info.band,
    )


def _stand_in_wcs(exposure: Exposure) -> WCS:
    """Return a WCS of the announced pointing, with pixels of an arcsecond."""
    info = exposure.visit_info
    pointing = [0.0, 0.0] if info is None else [info.boresight_ra, info.boresight_dec]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [0.0 if math.isnan(value) else value for value in pointing]
    wcs.wcs.crpix = [(size + 1) / 2 for size in exposure.shape[::-1]]
    wcs.wcs.cd = np.diag([-1.0 / 3600, 1.0 / 3600])
    wcs.wcs.set()
    return wcs


def _obs_info(exposure: Exposure, identity: Identity) -> ObservationInfo:
    known: dict[str, Any] = {
        "instrument": identity.instrument or UNKNOWN,
        "physical_filter": identity.physical_filter or UNKNOWN,
        "visit_id": identity.visit,
        "detector_num": identity.detector,
    }
    info = exposure.visit_info
    if info is not None:
        half = TimeDelta(info.exposure_time / 2, format="sec")
        middle = Time(info.mid_mjd_tai, format="mjd", scale="tai")
        known |= {
            "exposure_id": info.exposure,
            "exposure_time": info.exposure_time * astropy.units.s,
            "datetime_begin": middle - half,
            "datetime_end": middle + half,
            "boresight_rotation_angle": _angle(info.rotation),
            "boresight_rotation_coord": "sky",
            "boresight_airmass": None if math.isnan(info.airmass) else info.airmass,
            "tracking_radec": SkyCoord(info.boresight_ra, info.boresight_dec, unit="deg"),
            "observation_type": "science",
            "observation_reason": info.observation_reason or None,
            "object": info.target_name or None,
        }
    return makeObservationInfo(**{key: value for key, value in known.items() if value is not None})


def _angle(degrees: float) -> Angle | None:
    return None if math.isnan(degrees) else Angle(degrees, unit="deg")


def _scaling(exposure: Exposure, unit: astropy.units.UnitBase) -> ChebyshevField | None:
    """Return the factor to nJy of an image in another unit."""
    calibration = exposure.photo_calib
    if calibration is None or unit == astropy.units.nJy:
        return None
    return field_photo_calib(calibration, exposure.shape, unit)
