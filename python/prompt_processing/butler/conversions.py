"""Conversions between our types and those of ``lsst.images``, by which the Butler serves either.

``config/storageClasses.yaml`` names these functions.
"""

from __future__ import annotations

import astropy.units
import numpy as np
from lsst.images import BackgroundMap, DifferenceImage, MaskedImage, VisitImage
from lsst.images.convolution_kernels import ConvolutionKernel
from lsst.images.fields import BaseField

from prompt_processing.images import Background, Exposure, MatchingKernel, PhotoCalib
from prompt_processing.images.fits import header_parts
from prompt_processing.images.layout import fields
from prompt_processing.images.layout.content import visit_info_of
from prompt_processing.images.layout.identity import Identity
from prompt_processing.images.layout.names import bits_of_planes
from prompt_processing.images.layout.objects import field_image
from prompt_processing.images.layout.others import wcs_of_projection
from prompt_processing.images.layout.psf_text import psf_from_metadata

from .detector_image import DetectorImage

__all__ = [
    "background_of",
    "difference_image_of",
    "exposure_of",
    "field_background_of",
    "field_kernel_of",
    "field_photo_calib_of",
    "kernel_of",
    "masked_image_of",
    "photo_calib_of",
    "processed_exposure_of",
    "visit_image_of",
]

_NOMINAL_SHAPE = (4096, 4096)
"""Size of the detector, where an object does not say it: the polynomials hold everywhere."""


def exposure_of(image: MaskedImage) -> Exposure:
    """Convert an image of ``lsst.images``; image and variance are shared if they are of our types."""
    mask = np.zeros(image.bbox.shape, np.int32)
    planes = [None if plane is None else {"name": plane.name} for plane in image.mask.schema]
    named = [plane["name"] for plane in planes if plane is not None]
    for number, bit in bits_of_planes(planes).items():
        mask[image.mask.get(named[number])] |= bit
    photo_calib, visit_info, metadata = header_parts(dict(image.metadata.external))
    if image.unit is not None:
        metadata["BUNIT"] = image.unit.to_string()
    scaling = getattr(image, "photometric_scaling", None)
    if photo_calib is None and image.unit == astropy.units.nJy:
        photo_calib = PhotoCalib(1.0, 0.0)
    elif photo_calib is None and scaling is not None:
        photo_calib = fields.photo_calib_of(scaling)
    info = getattr(image, "obs_info", None)
    if visit_info is None and info is not None:
        description = {"obs_info": info.model_dump(mode="json"), "band": getattr(image, "band", "")}
        visit_info = visit_info_of(description)
    projection = image.sky_projection if image.metadata.get("wcs_is_known", True) else None
    return Exposure(
        np.asarray(image.image.array, np.float32),
        mask,
        np.asarray(image.variance.array, np.float32),
        wcs=None if projection is None else wcs_of_projection(projection, image.bbox),
        psf=psf_from_metadata(dict(image.metadata)),
        photo_calib=photo_calib,
        visit_info=visit_info,
        metadata=metadata,
    )


def processed_exposure_of(image: DetectorImage) -> Exposure:
    """Convert an image whose storage class does not say whether it is processed.

    Raises
    ------
    TypeError
        Raised for a raw.
    """
    if isinstance(image, Exposure):
        return image
    if isinstance(image, MaskedImage):
        return exposure_of(image)
    raise TypeError("A raw is not converted to an image: signature removal makes one of it.")


def visit_image_of(exposure: Exposure) -> VisitImage:
    """Convert to an image of a visit."""
    image = field_image(exposure, Identity("preliminary_visit_image"))
    assert isinstance(image, VisitImage)
    return image


def difference_image_of(exposure: Exposure) -> DifferenceImage:
    """Convert to a difference image."""
    image = field_image(exposure, Identity("difference_image"))
    assert isinstance(image, DifferenceImage)
    return image


def masked_image_of(exposure: Exposure) -> MaskedImage:
    """Convert to an image without PSF."""
    return field_image(exposure, Identity("post_isr_image"))


def field_kernel_of(kernel: MatchingKernel) -> ConvolutionKernel:
    """Convert to a kernel of ``lsst.images``, on the box of the image that it was fitted to."""
    return fields.field_kernel(kernel, fields.fitted_shape(kernel) or _NOMINAL_SHAPE)


def kernel_of(kernel: ConvolutionKernel) -> MatchingKernel:
    """Convert from a kernel of ``lsst.images``."""
    return fields.kernel_of(kernel)


def field_background_of(background: Background) -> BackgroundMap:
    """Convert to a background of ``lsst.images``."""
    return fields.field_background(background)


def background_of(backgrounds: BackgroundMap) -> Background:
    """Convert from a background of ``lsst.images``."""
    return fields.background_of(backgrounds)


def field_photo_calib_of(calibration: PhotoCalib) -> BaseField:
    """Convert to a field of factors."""
    return fields.field_photo_calib(calibration, _NOMINAL_SHAPE)


def photo_calib_of(field: BaseField) -> PhotoCalib:
    """Convert from a field of factors."""
    return fields.photo_calib_of(field)
