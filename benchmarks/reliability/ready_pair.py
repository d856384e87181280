"""A pair of images up to its subtraction, and what is detected when it is subtracted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.table import Table

from prompt_processing.difference import open_image
from prompt_processing.difference.common_stars import pixel_wcs
from prompt_processing.difference.difference import DifferenceOptions
from prompt_processing.difference.prepare import PreparedImage, prepare
from prompt_processing.difference.register import Registration, register
from prompt_processing.images import Exposure
from prompt_processing.imaging.difference.subtraction import subtract
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.dia_detection import DetectionOptions
from prompt_processing.imaging.measurement.dia_filters import FilterOptions, filter_dia_sources

LOOSE = FilterOptions(minimum_snr=4.5, misfit=0.6, contrast=0.005, halo=0.0005)
"""Filters that let through more than the pipeline's, so that the model learns what is beyond them."""
THRESHOLD = 4.5


@dataclass(frozen=True, slots=True, eq=False)
class ReadyPair:
    """A pair before its subtraction: the template is on the science image's pixels."""

    science: PreparedImage
    registration: Registration
    on_sky: bool

    @property
    def fwhm(self) -> float:
        """Seeing of the blurrier image, pixels."""
        psf = self.registration.template.psf
        height, width = self.science.exposure.shape
        template = psf.fwhm_at((width - 1) / 2, (height - 1) / 2) if psf is not None else 0.0
        return float(max(self.science.fwhm, template))

    def detect(self, science: Exposure | None = None, template: Exposure | None = None) -> Table:
        """Subtract, detect and measure, from other images if given; return what the loose filters keep."""
        science = copied(science or self.science.exposure)
        template = copied(template or self.registration.template)
        options = DifferenceOptions().subtraction
        result = subtract(science, template, self.registration.stars, options)
        found = detect_and_measure(
            result.difference, science, result.matched, DetectionOptions(threshold=THRESHOLD)
        )
        found.meta.clear()
        return filter_dia_sources(found, LOOSE)[0]


def copied(exposure: Exposure) -> Exposure:
    """Return an exposure with pixels of its own."""
    pixels = {name: getattr(exposure, name).copy() for name in ("image", "mask", "variance")}
    return replace(exposure, **pixels)


def make_ready(science: str | Path, template: str | Path) -> ReadyPair:
    """Read, prepare and register two files, as ``prompt-difference`` does.

    Raises
    ------
    DifferenceError
        Raised if that is impossible; the message says why.
    """
    options = DifferenceOptions()
    opened = open_image(science)
    on_sky = opened.on_sky
    image = prepare(opened, options.cosmic_rays, psf=options.science_psf)
    guess = image.fwhm if np.isfinite(image.fwhm) else 3.5
    reference = prepare(open_image(template), options.cosmic_rays, guess, options.template_psf)
    registration = register(image, reference, options.align, options.cosmic_rays)
    if image.exposure.wcs is None:
        image.exposure.wcs = pixel_wcs(image.exposure.shape)
    return ReadyPair(image, registration, on_sky)
