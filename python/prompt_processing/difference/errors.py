"""Errors in a user's two images, with messages for that user."""

from __future__ import annotations


class DifferenceError(Exception):
    """Error that prevents a subtraction; the message says why and what may help."""


class UnreadableImageError(DifferenceError):
    """Error for a file that is missing, damaged or not FITS, or lacks the two-dimensional image requested."""


class UnusableOptionError(DifferenceError):
    """Error for an option out of range; the message names the option and its range."""


class UnusableOutputError(DifferenceError):
    """Error for an output file that is also an input, or that cannot be written."""


class NoStarsError(DifferenceError):
    """Error for an image with too few stars to measure its PSF."""


class StarsTooWideError(NoStarsError):
    """Error for an image whose stars are wider than kernels and fits can handle.

    Attributes
    ----------
    measured : `str`
        What was measured.
    fwhm : `float`
        FWHM of the stars, pixels.
    """

    def __init__(self, measured: str, fwhm: float, advice: str) -> None:
        super().__init__(f"{measured}; {advice}")
        self.measured = measured
        self.fwhm = fwhm


class NoOverlapError(DifferenceError):
    """Error for images of different parts of the sky."""


class NotAlignedError(DifferenceError):
    """Error for images whose stars do not coincide, whatever their headers say."""
