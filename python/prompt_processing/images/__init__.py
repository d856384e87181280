"""Images and what travels with them, and how the Butler stores them."""

from .exposure import Exposure
from .mask import UNUSABLE, Mask
from .photo_calib import AB_ZERO_POINT_NJY, PhotoCalib
from .psf import Psf, adaptive_moments, polynomial_terms
from .visit_info import VisitInfo

__all__ = [
    "AB_ZERO_POINT_NJY",
    "UNUSABLE",
    "Exposure",
    "Mask",
    "PhotoCalib",
    "Psf",
    "VisitInfo",
    "adaptive_moments",
    "polynomial_terms",
]
