"""Images, and the calibrations and metadata that accompany them."""

from .background import Background
from .defects import Defects
from .exposure import Exposure
from .kernel import MatchingKernel
from .mask import UNMEASURED, UNUSABLE, Mask
from .photo_calib import AB_ZERO_POINT_NJY, PhotoCalib
from .psf import Psf, adaptive_moments, polynomial_terms
from .sky_map import SkyMap, Tract
from .visit_info import VisitInfo

__all__ = [
    "AB_ZERO_POINT_NJY",
    "UNMEASURED",
    "UNUSABLE",
    "Background",
    "Defects",
    "Exposure",
    "Mask",
    "MatchingKernel",
    "PhotoCalib",
    "Psf",
    "SkyMap",
    "Tract",
    "VisitInfo",
    "adaptive_moments",
    "polynomial_terms",
]
