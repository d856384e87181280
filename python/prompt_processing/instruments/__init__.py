"""The cameras: geometry, object keys, headers and raw frames."""

from .camera import Amplifier, Camera, Detector, camera_names, load_camera
from .geometry import detector_centre, detector_region, detector_wcs

__all__ = [
    "Amplifier",
    "Camera",
    "Detector",
    "camera_names",
    "detector_centre",
    "detector_region",
    "detector_wcs",
    "load_camera",
]
