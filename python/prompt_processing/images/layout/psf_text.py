"""Our PSF in the metadata of an object of ``lsst.images``, for processes that have no Piff."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from prompt_processing.images.psf import Psf

__all__ = ["psf_from_metadata", "psf_metadata"]

_COEFFICIENTS = "psf_coefficients"


def psf_metadata(psf: Psf) -> dict[str, Any]:
    """Return a PSF as numbers and a text: single precision, least significant byte first, in base 64."""
    return {
        "psf_order": psf.order,
        "psf_size": psf.size,
        "psf_x_centre": float(psf.x_centre),
        "psf_y_centre": float(psf.y_centre),
        "psf_scale": float(psf.scale),
        _COEFFICIENTS: base64.b64encode(psf.coefficients.astype("<f4").tobytes()).decode("ascii"),
    }


def psf_from_metadata(metadata: Mapping[str, Any]) -> Psf | None:
    """Return the PSF of `psf_metadata`, `None` if there is none."""
    if _COEFFICIENTS not in metadata:
        return None
    size = int(metadata["psf_size"])
    values = np.frombuffer(base64.b64decode(metadata[_COEFFICIENTS]), "<f4")
    return Psf(
        values.reshape(-1, size, size).astype(np.float32),
        int(metadata["psf_order"]),
        float(metadata["psf_x_centre"]),
        float(metadata["psf_y_centre"]),
        float(metadata["psf_scale"]),
    )
