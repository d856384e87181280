"""The PSF of an image in the light of the other one."""

from __future__ import annotations

import logging

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.imaging.calibration.psf.stars import StarWidths, find_stars
from prompt_processing.imaging.calibration.source_profiles import measure_profiles

from ..images import UNUSABLE, Psf
from .errors import DifferenceError, NoStarsError
from .find_psf import WIDEST, PsfSettings, no_psf_message
from .prepare import PreparedImage, finish
from .register import Registration

_LOG = logging.getLogger(__name__)

ENOUGH = 10
"""Number of stars in both images whose width stands against that of the PSF ..."""
RATIO = 1.4
"""... if it differs by this factor, ..."""
ALONE = 0.3
"""... and the sources of the PSF's width are in both images so much less often than the others."""

SAME = 0.2
"""Difference of the logarithms of two widths that are alike."""


class OtherSeeingError(DifferenceError):
    """The PSF of an image is that of sources that the other does not have.

    Attributes
    ----------
    science, template : `float` or `None`
        FWHM of the stars that both images show, pixels, for an image whose PSF is to be measured again.
    """

    def __init__(self, science: float | None, template: float | None) -> None:
        super().__init__("The PSF is not that of the stars.")
        self.science, self.template = science, template


def require_common_psf(
    science: tuple[PreparedImage, PsfSettings],
    template: tuple[PreparedImage, PsfSettings],
    registration: Registration,
) -> None:
    """Raise an error if the PSF of an image is that of cosmic rays or hot pixels.

    Where they outnumber the stars, or agree better, they pass for stars in one image. The other image does
    not have them. What a user says of a PSF is not questioned.

    Parameters
    ----------
    science, template : `tuple`
        Each image, and the user's knowledge of its PSF.
    registration : `~prompt_processing.difference.register.Registration`
        The stars that belong together.

    Raises
    ------
    OtherSeeingError
        Raised with the width of the stars that both images show.
    """
    if registration.pairs is None:
        return
    images = science[0], template[0]
    first, second = (
        _seeing(image, rows, other.name) if _measured(settings) else None
        for (image, settings), rows, other in zip(
            (science, template), registration.pairs, reversed(images), strict=True
        )
    )
    if first is not None or second is not None:
        raise OtherSeeingError(first, second)


def _measured(settings: PsfSettings) -> bool:
    return settings.seeing is None and settings.stars is None and settings.image is None


def _seeing(image: PreparedImage, common: Table, other: str) -> float | None:
    """Return the width of the common stars if the PSF is that of others."""
    shared = _widths(image, common)
    stars = int(np.count_nonzero(shared.stars))
    if stars < ENOUGH or shared.fwhm > WIDEST or 1 / RATIO < shared.fwhm / image.fwhm < RATIO:
        return None
    known = _widths(image, image.stars).widths
    both: NDArray[np.bool_] = np.isin(np.asarray(image.stars["x"]), np.asarray(common["x"]))
    alike = np.abs(np.log(known / image.fwhm)) < SAME
    rest = np.isfinite(known) & ~alike
    if not alike.any() or not rest.any() or both[alike].mean() > ALONE * both[rest].mean():
        return None
    _LOG.warning(
        "%s: %d of %d sources that look like stars of %.1f pixels are not in %s: cosmic rays or hot pixels? "
        "The PSF is taken from stars of %.1f pixels, which both images show.",
        *(image.name, np.count_nonzero(alike & ~both), np.count_nonzero(alike), image.fwhm, other),
        shared.fwhm,
    )
    return float(shared.fwhm)


def _widths(image: PreparedImage, stars: Table) -> StarWidths:
    x, y = (np.asarray(stars[name], float) for name in ("x", "y"))
    exposure = image.exposure
    profiles = measure_profiles(exposure.image, exposure.mask, x, y, image.noise, int(UNUSABLE))
    return find_stars(profiles, np.asarray(stars["snr"], float))


def lend_psf(science: PreparedImage, template: PreparedImage, cosmic_rays: bool) -> PreparedImage | None:
    """Use the other image's PSF for an image that shows no star, in place, and return that image.

    Raises
    ------
    NoStarsError
        Raised if neither image shows a star.
    """
    for image, other in ((science, template), (template, science)):
        if image.exposure.psf is not None:
            continue
        psf = other.exposure.psf
        if psf is None:
            raise NoStarsError(no_psf_message(image.name, image.sources))
        _LOG.warning(
            "%s: no star shows the PSF (%s); that of %s is used.", image.name, image.sources, other.name
        )
        height, width = image.exposure.shape
        # The mean PSF: how the corners of the two images correspond is not known yet.
        middle = psf.image_at(psf.x_centre, psf.y_centre)
        image.exposure.psf = Psf(
            middle[np.newaxis].astype(np.float32),
            0,
            (width - 1) / 2,
            (height - 1) / 2,
            max(width, height) / 2,
        )
        finish(image, cosmic_rays)
        return image
    return None
