"""Difference imaging of any two FITS images: no Butler, no Kafka, no particular camera."""

from .difference import DifferenceOptions, DifferenceResult, difference_images
from .errors import DifferenceError
from .reading.read import OpenedImage, ReadOptions, open_image

__all__ = [
    "DifferenceError",
    "DifferenceOptions",
    "DifferenceResult",
    "OpenedImage",
    "ReadOptions",
    "difference_images",
    "open_image",
]
