"""Files of kernels, backgrounds and photometric calibrations in the layout of ``lsst-images``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from astropy.io.fits.verify import VerifyWarning
from lsst.images import BackgroundMap
from lsst.images.convolution_kernels import ConvolutionKernel
from lsst.images.serialization import open_archive

from prompt_processing.images.background import Background
from prompt_processing.images.damaged_files import naming_the_file
from prompt_processing.images.kernel import MatchingKernel
from prompt_processing.images.photo_calib import PhotoCalib
from prompt_processing.instruments.camera import load_camera

from .archive import FieldArchive
from .fields import (
    background_of,
    field_background,
    field_kernel,
    field_photo_calib,
    fitted_shape,
    kernel_of,
    photo_calib_of,
)
from .identity import Identity

__all__ = ["read_part", "write_part"]

Part = MatchingKernel | Background | PhotoCalib

_CONVOLVES_SCIENCE = "convolves_science"
_ERROR = "njy_per_unit_err"


def write_part(path: str | Path, part: Part, identity: Identity) -> None:
    """Write an object, replacing any file at ``path``.

    Parameters
    ----------
    path
        The file.
    part
        The object.
    identity
        What is known of the dataset; the detector determines where the polynomials are valid.
    """
    metadata: dict[str, Any] = {}
    shape = _shape(identity)
    if isinstance(part, MatchingKernel):
        # Images of miniature cameras, and cut images, are smaller than the detector.
        described: Any = field_kernel(part, fitted_shape(part) or shape)
        metadata[_CONVOLVES_SCIENCE] = part.convolves_science
    elif isinstance(part, Background):
        described = field_background(part)
    else:
        described = field_photo_calib(part, shape)
        metadata[_ERROR] = float(part.njy_per_unit_err)
    archive = FieldArchive()
    with warnings.catch_warnings():
        # Of comments that astropy cuts.
        warnings.simplefilter("ignore", VerifyWarning)
        archive.write(path, archive.serialize_root(described, metadata, identity.butler_info))


def read_part(path: str | Path) -> Part:
    """Read an object of `write_part`, or one that others wrote.

    Raises
    ------
    TypeError
        Raised if it has no counterpart here.
    """
    described, metadata = _stored(path)
    if isinstance(described, ConvolutionKernel):
        return kernel_of(described, convolves_science=bool(metadata.get(_CONVOLVES_SCIENCE, False)))
    if isinstance(described, BackgroundMap):
        return background_of(described)
    return photo_calib_of(described, float(metadata.get(_ERROR) or 0.0))


@naming_the_file("of the layout of lsst-images")
def _stored(path: str | Path) -> tuple[Any, Any]:
    with open_archive(str(path)) as reader:
        return reader.read(), reader.metadata


def _shape(identity: Identity) -> tuple[int, int]:
    try:
        detector = load_camera(identity.instrument or "").detector(identity.detector or 0)
    except LookupError:
        # The polynomials hold everywhere: this only scales their coefficients.
        return 4096, 4096
    return detector.height, detector.width
