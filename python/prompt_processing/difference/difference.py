"""Subtract one image from another and report what changed."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from prompt_processing.imaging.difference.options import SubtractionOptions
from prompt_processing.imaging.difference.residuals import Residuals, flux_scatter, measure_residuals
from prompt_processing.imaging.difference.subtraction import Subtraction, subtract
from prompt_processing.imaging.errors import BadKernelError, NumericalError
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.dia_detection import DetectionOptions
from prompt_processing.imaging.measurement.dia_filters import FilterOptions, filter_dia_sources
from prompt_processing.imaging.measurement.reliability import ReliabilityModel

from ..images import Exposure
from .binning import binned_image, binned_settings, can_bin, unbin_catalogue, unbinned_summary
from .catalogue import candidates_table, write_catalogue
from .common_stars import pixel_wcs
from .errors import (
    DifferenceError,
    NoStarsError,
    NotAlignedError,
    StarsTooWideError,
    UnusableOptionError,
)
from .find_psf import PsfSettings, no_psf_message
from .lines import reject_lines
from .pair_psf import OtherSeeingError, lend_psf, require_common_psf
from .prepare import PreparedImage, prepare, psf_error, restore
from .reading.read import OpenedImage, ReadOptions, open_image
from .register import Registration, register
from .summary import summarize
from .units import scale_exposure, scale_fluxes, scale_summary
from .write import write_difference

_LOG = logging.getLogger(__name__)

SIGNIFICANT_CHANGE = 3.0
"""Least change of a star's flux, in units of the scatter of the stars that did not change."""

MOST_SCATTER = 0.05
"""Largest such scatter; where stars change by more, most of them may be variable."""

PSF_ERRORS = 3.0
"""Misfit of a change beyond the filters' limits, in units of that of constant stars, that is still chance."""

COMMON = (3, 9)
"""Numbers of common stars that show the flux scale, yet may be fewer than the sources of one image alone."""

MOST_NEW = 30
"""Sources that may be new, or gone, between an image and one that shows none."""

MOST_LEFT = 2.0
"""Residuals of stars, in units of the noise, above which a PSF from a single star is not trusted."""

FEW_PSF_STARS, MOST_LEFT_AT_BRIGHT = 5, 3.0
"""Stars up to which a PSF is not trusted either if residuals of the brightest stars are above this."""

BINNED_FWHM = 6.0
"""FWHM, pixels, above which stars need no better sampling; images of wider ones are binned."""

Progress = Callable[[str], None]
"""Called with the name of each step as it begins."""


@dataclass(frozen=True, slots=True)
class DifferenceOptions:
    """Options of a subtraction.

    Attributes
    ----------
    threshold : `float`
        Signal-to-noise ratio above which sources are detected.
    align : `bool`
        Whether to correct the headers' positions and flux scales with the images' stars.
    cosmic_rays : `bool`
        Whether to look for cosmic rays in both images.
    ignore_wcs : `bool`
        Whether to align the images by their stars alone, whatever their headers say.
    subtraction : `~prompt_processing.imaging.difference.options.SubtractionOptions`
        Options of the kernel and the subtraction.
    science_psf, template_psf : `PsfSettings`
        Known properties of the images' PSFs: seeing, positions of stars, or an image. By default
        the PSFs are measured.
    """

    threshold: float = 5.0
    align: bool = True
    cosmic_rays: bool = True
    subtraction: SubtractionOptions = field(
        default_factory=lambda: SubtractionOptions(minimum_snr=20.0, from_psfs=True)
    )
    science_psf: PsfSettings = field(default_factory=PsfSettings)
    template_psf: PsfSettings = field(default_factory=PsfSettings)
    ignore_wcs: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= 1000:
            raise UnusableOptionError(
                f"--threshold {self.threshold:g} is out of range: "
                "it is a signal-to-noise ratio from 1 to 1000."
            )
        for option, psf in (("--seeing", self.science_psf), ("--template-seeing", self.template_psf)):
            if psf.seeing is not None and not 0.5 <= psf.seeing <= 100:
                raise UnusableOptionError(
                    f"{option} {psf.seeing:g} is out of range: it is a width from 0.5 to 100 pixels."
                )


@dataclass(slots=True, eq=False)
class DifferenceResult:
    """The products of a subtraction.

    Attributes
    ----------
    difference : `~prompt_processing.images.Exposure`
        Science minus template, on the science image's pixels and flux scale, with variance, mask and PSF. If
        the stars were too wide, this and the next two are binned by ``summary["binning"]``.
    science, matched : `~prompt_processing.images.Exposure`
        The sky-subtracted science image, and the template as it was subtracted.
    sources : `~astropy.table.Table`
        Changed sources, most significant first, with ``reliability``; see `catalogue.candidates_table`.
    rejected : `~astropy.table.Table`
        Detections that cannot be changes in the sky, with ``reason``.
    residuals : `~prompt_processing.imaging.difference.residuals.Residuals`
        Scatter of the difference relative to its noise.
    summary : `dict`
        Numbers that describe the quality of the subtraction.
    header : `~astropy.io.fits.Header`
        Header of the science image.
    """

    difference: Exposure
    science: Exposure
    matched: Exposure
    sources: Table
    rejected: Table
    residuals: Residuals
    summary: dict[str, float | int | str | bool]
    header: fits.Header

    def write(
        self,
        image: str | Path | None = None,
        catalogue: str | Path | None = None,
        picture: str | Path | None = None,
    ) -> None:
        """Write the named outputs: FITS image, catalogue (``.parquet`` or ``.fits``), picture (PNG)."""
        if image is not None:
            write_difference(image, self.difference, self.header, self.summary)
        if catalogue is not None:
            write_catalogue(catalogue, self.sources)
        if picture is not None:
            # Only drawing needs matplotlib; everything else works without it.
            from .picture import write_picture

            write_picture(picture, self)


def difference_images(
    science: str | Path | OpenedImage,
    template: str | Path | OpenedImage,
    options: DifferenceOptions | None = None,
    science_options: ReadOptions | None = None,
    template_options: ReadOptions | None = None,
    progress: Progress | None = None,
) -> DifferenceResult:
    """Subtract a template from a science image and catalogue what changed.

    Parameters
    ----------
    science, template : `str`, `~pathlib.Path` or `OpenedImage`
        FITS files, optionally with the extension (``file.fits[SCI]``), or images from `open_image`,
        which are modified.
    options : `DifferenceOptions`, optional
        Options of the subtraction.
    science_options, template_options : `ReadOptions`, optional
        Values that the headers lack: gain, saturation, names of extensions.
    progress : callable, optional
        Called with the name of each step as it begins.

    Returns
    -------
    result : `DifferenceResult`

    Raises
    ------
    DifferenceError
        Raised if the images cannot be subtracted; the message says why.
    """
    options = options or DifferenceOptions()
    tell = progress or (lambda text: None)
    start = time.perf_counter()
    tell("reading the images")
    reading = (science, science_options), (template, template_options)
    opened = _open_both(reading, options)
    # Images that were open already have been modified by now, and cannot be read again.
    again = not isinstance(science, OpenedImage) and not isinstance(template, OpenedImage)
    try:
        try:
            result = _subtract_opened(opened, options, tell, again)
        except OtherSeeingError as found:
            if found.science is not None:
                options = replace(options, science_psf=PsfSettings(found.science, named=False))
            if found.template is not None:
                options = replace(options, template_psf=PsfSettings(found.template, named=False))
            opened = _open_both(reading, options)
            result = _subtract_opened(opened, options, tell)
    except StarsTooWideError as error:
        factor = math.ceil(error.fwhm / BINNED_FWHM)
        psfs = options.science_psf, options.template_psf
        if not all(can_bin(image, psf, factor) for image, psf in zip(opened, psfs, strict=True)):
            raise
        _LOG.warning(
            "Stars are %.1f pixels wide; both images are binned by %d. Positions are in the files' pixels.",
            error.fwhm,
            factor,
        )
        on_sky = opened[0].on_sky
        opened = binned_image(opened[0], factor), binned_image(opened[1], factor)
        psf, template_psf = (binned_settings(psf, factor) for psf in psfs)
        options = replace(options, science_psf=psf, template_psf=template_psf)
        try:
            result = _subtract_opened(opened, options, tell)
            _require_credible(result, opened)
        except DifferenceError as failure:
            message = f"{error.measured}, and binned by {factor} the images cannot be subtracted: {failure}"
            raise NoStarsError(message) from error
        for table in (result.sources, result.rejected):
            unbin_catalogue(table, factor, on_sky)
        result.summary = unbinned_summary(result.summary, factor)
    result.summary["seconds"] = time.perf_counter() - start
    return result


def _open_both(
    images: tuple[tuple[str | Path | OpenedImage, ReadOptions | None], ...], options: DifferenceOptions
) -> tuple[OpenedImage, OpenedImage]:
    first, second = (
        image if isinstance(image, OpenedImage) else open_image(image, settings) for image, settings in images
    )
    if options.ignore_wcs:
        first.exposure.wcs = second.exposure.wcs = None
    return first, second


def _require_credible(result: DifferenceResult, images: tuple[OpenedImage, OpenedImage]) -> None:
    """Raise an error if stars are left in the difference, and one of the PSFs is that of few stars."""
    left = result.residuals
    limits = (
        (1, left.stars, MOST_LEFT, "the stars"),
        (FEW_PSF_STARS, left.bright_stars, MOST_LEFT_AT_BRIGHT, "the brightest stars"),
    )
    for name, image in zip(("science", "template"), images, strict=True):
        count = result.summary[f"{name}PsfStars"]
        for few, noise, most, stars in limits:
            if isinstance(count, int) and 1 <= count <= few and noise > most:
                origin = "a single star" if count == 1 else f"{count} stars"
                raise DifferenceError(
                    f"the PSF of {image.name} is that of {origin}, and what is left of {stars} is "
                    f"{noise:.1f} times the noise"
                )


def _subtract_opened(
    opened: tuple[OpenedImage, OpenedImage],
    options: DifferenceOptions,
    tell: Progress,
    compare: bool = False,
) -> DifferenceResult:
    """Subtract one read image from the other; both are modified.

    Raises
    ------
    OtherSeeingError
        Raised, with ``compare``, if the PSF of an image is that of sources that the other does not have.
    StarsTooWideError
        Raised if the stars of either image are too wide; both have their sky again.
    """
    on_sky = opened[0].on_sky
    tell("sky, stars and PSF of the science image")
    image = prepare(opened[0], options.cosmic_rays, psf=options.science_psf)
    tell("sky, stars and PSF of the template")
    guess = image.fwhm if np.isfinite(image.fwhm) else 3.5
    try:
        reference = prepare(opened[1], options.cosmic_rays, guess, options.template_psf)
    except StarsTooWideError:
        if image.background is not None:
            restore(opened[0], image.background)
        raise
    starless = lend_psf(image, reference, options.cosmic_rays)
    tell("aligning the template")
    try:
        registration = register(image, reference, options.align, options.cosmic_rays)
    except NotAlignedError as error:
        if starless is None:
            raise
        raise NoStarsError(no_psf_message(starless.name, starless.sources)) from error
    if compare and starless is None:
        require_common_psf((image, options.science_psf), (reference, options.template_psf), registration)
    tell("matching the PSFs and subtracting")
    if image.exposure.wcs is None:
        image.exposure.wcs = pixel_wcs(image.exposure.shape)
    begin, cpu = time.perf_counter(), time.process_time()
    try:
        # Where only one of two images shows many stars, the other's exposure failed.
        empty = starless is not None and max(len(i.stars) for i in (image, reference)) <= MOST_NEW
        result = _subtract(image, registration, options.subtraction, starless is None or empty, empty)
    except (NumericalError, ValueError) as error:
        if starless is not None:
            raise NoStarsError(no_psf_message(starless.name, starless.sources)) from error
        raise DifferenceError(f"The subtraction failed: {error}") from error
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    tell("detecting and measuring what changed")
    detections = detect_and_measure(
        result.difference, image.exposure, result.matched, DetectionOptions(threshold=options.threshold)
    )
    streaks = detections.meta.pop("streaks")
    scatter = flux_scatter(result.difference, image.exposure, registration.stars)
    limits = FilterOptions(minimum_snr=options.threshold)
    limits = replace(limits, contrast=max(limits.contrast, SIGNIFICANT_CHANGE * min(scatter, MOST_SCATTER)))
    # A change must not be refused for being like the stars, where the PSF is not.
    shown = registration.pairs or (image.stars, reference.stars)
    excess = PSF_ERRORS * sum(psf_error(stars) for stars in shown)
    limits = replace(limits, misfit=limits.misfit + excess, sharp_misfit=limits.sharp_misfit + excess)
    kept, rejected = reject_lines(*filter_dia_sources(detections, limits))
    kept["reliability"] = ReliabilityModel.load().score(kept)
    residuals = measure_residuals(result.difference, registration.stars)
    summary = summarize(image, reference, registration, result.metrics, residuals)
    summary |= {
        "fluxScatter": scatter,
        "sources": len(kept),
        "fainter": int(np.count_nonzero(kept["isNegative"])),
        "rejected": len(rejected),
        "streaks": len(streaks),
        "subtractionSeconds": seconds,
        "subtractionCpuSeconds": cpu_seconds,
    }
    unit = opened[0].unit
    for exposure in (result.difference, image.exposure, result.matched):
        scale_exposure(exposure, unit)
    for table in (kept, rejected):
        scale_fluxes(table, unit)
    summary = scale_summary(summary, unit, opened[1].unit)
    return DifferenceResult(
        result.difference,
        image.exposure,
        result.matched,
        candidates_table(kept, on_sky),
        candidates_table(rejected, on_sky),
        residuals,
        summary,
        opened[0].header,
    )


def _subtract(
    image: PreparedImage,
    registration: Registration,
    options: SubtractionOptions,
    from_psfs: bool,
    empty: bool,
) -> Subtraction:
    """Subtract; with the PSF models alone if the images have few stars in common, or one is empty."""
    options = replace(options, from_psfs=options.from_psfs and from_psfs)
    try:
        return subtract(image.exposure, registration.template, registration.stars, options)
    except BadKernelError:
        if not (empty or COMMON[0] <= registration.common_stars <= COMMON[1]):
            raise
    _LOG.warning(
        "%s and the template have %d stars in common, fewer than other sources; the PSF models are matched, "
        "and the template's flux scale is %s.",
        image.name,
        registration.common_stars,
        "taken to be the same" if empty else "that of these stars",
    )
    # No source is that significant.
    return subtract(
        image.exposure, registration.template, registration.stars, replace(options, minimum_snr=math.inf)
    )
