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
        Description of the failure.
    **numbers : `float`, `int` or `str`
        Values kept as `metadata` and shown in the message.
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
    """A calibration frame does not fit the raw image: its shape differs, or all pixels are bad."""


class TooManyCosmicRaysError(NumericalError):
    """More pixels look like cosmic rays than is plausible: the noise or the expected seeing is wrong."""


class BadBackgroundError(NumericalError):
    """Too few usable pixels to estimate the background."""


class DetectionError(NumericalError):
    """Sources cover so much of the image that they cannot be separated."""


class TooFewStarsError(NumericalError):
    """Not enough stars for a PSF model."""


class BadPsfError(NumericalError):
    """The PSF model has an absurd width or shape."""


class NoReferenceStarsError(NumericalError):
    """The reference catalogue has no stars (in this band) in the image's field."""


class AstrometryError(NumericalError):
    """Detected and reference stars could not be matched, or the solution is too poor."""


class PhotometryError(NumericalError):
    """Too few matched stars for a zero point, or too much scatter among them."""


class UnusableModelError(NumericalError):
    """A reliability model lacks a field, or is made for other features than this version computes."""


class NoTemplateOverlapError(NumericalError):
    """None of the template's pixels lies on the image."""


class TooFewKernelStarsError(NumericalError):
    """Not enough sources to fit the kernel that matches two images' PSFs."""


class BadKernelError(NumericalError):
    """The PSF-matching kernel is absurd, or its residuals make the difference useless."""


class AbsurdVisitError(NumericalError):
    """PSF, zero point, astrometry or number of DiaSources is absurd: a circuit breaker opened."""
