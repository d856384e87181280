"""What can be wrong with two images, in words for whoever brought them."""

from __future__ import annotations


class DifferenceError(Exception):
    """The two images cannot be subtracted; the message tells why and what may help."""


class UnreadableImageError(DifferenceError):
    """A file is not there, is not FITS, or has no two-dimensional image where one was asked for."""


class NoStarsError(DifferenceError):
    """An image has too few stars to know its PSF."""


class NoOverlapError(DifferenceError):
    """The images show different parts of the sky."""


class NotAlignedError(DifferenceError):
    """The images' stars do not coincide, whatever their headers say."""
