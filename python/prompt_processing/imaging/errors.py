"""Failures of the algorithms that a retry would only repeat, with the numbers that tell why."""

from __future__ import annotations

from lsst.pipe.base import AlgorithmError


class _MeasuredError(AlgorithmError):
    """An algorithm's failure with the numbers behind it.

    Parameters
    ----------
    message : `str`
        What failed.
    **numbers : `float`, `int` or `str`
        Kept as `metadata`, and shown in the message.
    """

    def __init__(self, message: str, **numbers: float | int | str) -> None:
        self.numbers = numbers
        shown = ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in numbers.items()
        )
        super().__init__(f"{message} ({shown})" if shown else message)

    @property
    def metadata(self) -> dict[str, float | int | str]:
        """The numbers, by name."""
        return self.numbers


class UnusableCalibrationError(_MeasuredError):
    """A calibration frame does not fit the raw image: other shape, or nothing but bad pixels."""


class TooManyCosmicRaysError(_MeasuredError):
    """More pixels look like cosmic rays than there can be: noise or expected seeing are wrong."""


class BadBackgroundError(_MeasuredError):
    """Hardly a pixel is left to estimate the background from."""


class DetectionError(_MeasuredError):
    """Sources cover so much of the image that they cannot be told apart."""


class TooFewStarsError(_MeasuredError):
    """Not enough stars for a PSF model."""


class BadPsfError(_MeasuredError):
    """The PSF model has an absurd width or shape."""


class NoReferenceStarsError(_MeasuredError):
    """The reference catalogue has nothing (in this band) where the image lies."""


class AstrometryError(_MeasuredError):
    """Detected and reference stars could not be matched, or the solution is too poor."""


class PhotometryError(_MeasuredError):
    """Too few matched stars for a zero point, or too much scatter among them."""


class NoTemplateOverlapError(_MeasuredError):
    """None of the template's pixels lies on the image."""


class TooFewKernelStarsError(_MeasuredError):
    """Not enough sources to fit the kernel that matches two images' PSFs."""


class BadKernelError(_MeasuredError):
    """The PSF-matching kernel is absurd, or leaves residuals that nothing could be told from."""


class AbsurdVisitError(_MeasuredError):
    """PSF, zero point, astrometry or number of DiaSources cannot be true: a circuit breaker opened."""
