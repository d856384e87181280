"""Failures of the algorithms that a retry would repeat, with the numbers that explain them.

Tasks raise them as the middleware's `~lsst.pipe.base.AlgorithmError`: see
`prompt_processing.tasks.numerics_task`.
"""

from __future__ import annotations


class NumericalError(Exception):
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


class UnusableCalibrationError(NumericalError):
    """A calibration frame does not fit the raw image: other shape, or nothing but bad pixels."""


class TooManyCosmicRaysError(NumericalError):
    """More pixels look like cosmic rays than there can be: noise or expected seeing are wrong."""


class BadBackgroundError(NumericalError):
    """Hardly a pixel is left to estimate the background from."""


class DetectionError(NumericalError):
    """Sources cover so much of the image that they cannot be told apart."""


class TooFewStarsError(NumericalError):
    """Not enough stars for a PSF model."""


class BadPsfError(NumericalError):
    """The PSF model has an absurd width or shape."""


class NoReferenceStarsError(NumericalError):
    """The reference catalogue has nothing (in this band) where the image lies."""


class AstrometryError(NumericalError):
    """Detected and reference stars could not be matched, or the solution is too poor."""


class PhotometryError(NumericalError):
    """Too few matched stars for a zero point, or too much scatter among them."""


class NoTemplateOverlapError(NumericalError):
    """None of the template's pixels lies on the image."""


class TooFewKernelStarsError(NumericalError):
    """Not enough sources to fit the kernel that matches two images' PSFs."""


class BadKernelError(NumericalError):
    """The PSF-matching kernel is absurd, or leaves residuals that nothing could be told from."""


class AbsurdVisitError(NumericalError):
    """PSF, zero point, astrometry or number of DiaSources cannot be true: a circuit breaker opened."""
