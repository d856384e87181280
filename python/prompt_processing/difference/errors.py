"""What can be wrong with two images, in words for whoever brought them."""

from __future__ import annotations


class DifferenceError(Exception):
    """The two images cannot be subtracted; the message says why and what may help."""


class UnreadableImageError(DifferenceError):
    """A file is missing, damaged or not FITS, or has no two-dimensional image where one was asked for."""


class UnusableOptionError(DifferenceError):
    """An option has a value that makes no sense; the message names the option and its range."""


class UnusableOutputError(DifferenceError):
    """A file that should be written is also an input, or cannot be written."""


class NoStarsError(DifferenceError):
    """An image has too few stars to measure its PSF."""


class NoOverlapError(DifferenceError):
    """The images show different parts of the sky."""


class NotAlignedError(DifferenceError):
    """The images' stars do not coincide, whatever their headers say."""
