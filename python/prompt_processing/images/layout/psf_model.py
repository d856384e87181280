"""The PSF of a file: a model of Piff, written and read without Piff.

``lsst.images`` stores three kinds of PSF in images of visits: a round Gaussian, PSFEx, whose reader is not on
PyPI, and Piff. Ours is Piff's ``PixelGrid`` with ``BasisPolynomial``: an image whose pixels are polynomials.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lsst.images import Box
from lsst.images.psfs import PiffSerializationModel, PiffWrapper
from lsst.images.serialization import OutputArchive

from prompt_processing.images.psf import Psf

from .pixel_grid import monomials

__all__ = ["PixelGridPsf"]

_VERSION = "1.6.0"
"""Version of Piff whose structure this is."""

_INTERPOLANT = "Lanczos(5)"


class PixelGridPsf(PiffWrapper):
    """A PSF that describes itself as Piff's, without Piff.

    Parameters
    ----------
    psf
        Our PSF.
    bounds
        Pixels of the image.
    """

    def __init__(self, psf: Psf, bounds: Box) -> None:
        super().__init__(None, bounds, psf.size)
        self._psf = psf

    def serialize(self, archive: OutputArchive[Any]) -> PiffSerializationModel:
        """Describe the PSF."""
        psf = self._psf
        solution = np.zeros(1, [("q", float, (psf.size**2, (psf.order + 1) * (psf.order + 2) // 2))])
        solution["q"][0] = monomials(psf)

        def interpolation(inner: OutputArchive[Any]) -> Any:
            return inner.add_structured_array(solution, name="solution")

        table = archive.serialize_direct("piff/interp", interpolation)
        structs = {
            "chisq": {"chisq": 0.0, "last_delta_chisq": 0.0, "dof": 0, "nremoved": 0, "niter": 0},
            "model": {
                "type": "PixelGrid",
                "scale": 1.0,
                "size": psf.size,
                "interp": _INTERPOLANT,
                "centered": True,
            },
            "interp": {"type": "BasisPolynomial", "order": psf.order, "keys": ["u", "v"]},
        }
        return PiffSerializationModel.model_validate(
            {
                "piff": {
                    "structs": {
                        "piff": {
                            "type": "Simple",
                            "piff_version": _VERSION,
                            "model": 0,
                            "interp": 0,
                            "outliers": 0,
                        }
                    },
                    "objects": {
                        "piff": {
                            "structs": structs,
                            "wcs": {"wcs": {"wcs_type": "pixel_scale", "scale": 1.0}},
                            "objects": {
                                "model": {},
                                "interp": {"tables": {"solution": {"metadata": {}, "table": table}}},
                            },
                        }
                    },
                },
                "stars": [],
                "stamp_size": psf.size,
                "bounds": self.bounds.serialize(),
            }
        )
