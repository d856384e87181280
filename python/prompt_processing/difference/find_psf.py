"""Find the PSF of one image: from its stars, from a few of them, or from the user's settings."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.imaging.calibration.detection import Detections, detect
from prompt_processing.imaging.calibration.measurement import fit_psf
from prompt_processing.imaging.calibration.neighbours import subtract_sources
from prompt_processing.imaging.calibration.psf.model import PsfModel, PsfOptions, model_psf
from prompt_processing.imaging.calibration.psf.parametric import fit_parametric_psf, round_psf
from prompt_processing.imaging.calibration.psf.stars import StarWidths, find_stars, isolated, without_halo
from prompt_processing.imaging.calibration.source_profiles import measure_profiles
from prompt_processing.imaging.calibration.star_selection import touches
from prompt_processing.imaging.errors import BadPsfError, DetectionError, TooFewStarsError

from ..images import UNUSABLE, Exposure, Mask, Psf
from .errors import DifferenceError, NoStarsError, StarsTooWideError
from .reading.psf_files import check_psf_image, read_psf_image, read_star_positions

_LOG = logging.getLogger(__name__)

WIDEST = 12.5
"""FWHM, pixels, of the widest stars that kernels and fits can handle."""

NARROWEST = 1.3
"""FWHM, pixels. Below the size of a pixel, a star cannot be distinguished from a hot pixel."""

GUESSES = (1.5, 20.0)
"""Narrowest and widest filter, FWHM in pixels."""

MIDDLE, STARS_OF_GUESS = 512, 10
"""Side of the middle of an image, pixels, and fewest stars in it, that give a first estimate of the FWHM."""

ISOLATION = ((3.0, 0.03), (2.5, 0.1), (2.0, 0.2), (1.5, 0.3))
"""Radii in FWHM, and the share of a star's light allowed in neighbours within them; strictest first."""

STAR_SNR: tuple[float, ...] = (250.0, 80.0, 40.0, 20.0, 8.0)
"""Least significance of a star of the PSF, best first. The second reveals compact galaxies; above the first,
neighbours too faint to be detected are too faint to matter."""

BRIGHT, GOOD, ANY = slice(0, 1), slice(1, 2), slice(1, None)
ENOUGH = (
    (60, 3, BRIGHT),
    (25, 3, GOOD),
    (60, 3, slice(1, 4)),
    (25, 4, slice(1, 4)),
    (12, 4, ANY),
    (3, 4, ANY),
    (1, 4, ANY),
)
"""Numbers of stars for a PSF, and how many radii and which significances to try to reach each; best first.

Two dozen of the good ones precede larger numbers with fainter stars, among which compact galaxies remain."""

CROWDED = 0.15
"""Mean number of sources within 2 FWHM of a star above which neighbours are subtracted ..."""

ALONE = 0.15
"""... unless the stars of the PSF have none with this share of their light."""

CONTRADICTING, SEEING_RATIO = 10, 1.4
"""Number of stars, and ratio of their FWHM to the user's, above which the user is warned."""

MAX_PSF_SIZE = 61
"""Width of a PSF's image, pixels."""

OPTIONS = (
    "Name the seeing in pixels (--seeing), positions of stars (--psf-stars) or an image of the PSF (--psf)."
)
"""Options that let a user proceed."""


@dataclass(frozen=True, slots=True, eq=False)
class PsfSettings:
    """A user's knowledge of an image's PSF.

    Attributes
    ----------
    seeing : `float` or `None`
        FWHM of the stars, pixels. Only sources of about that width are taken for stars; without any, the
        PSF is a round Moffat profile of that width.
    stars : `~astropy.table.Table`, path or `None`
        ``x, y`` of stars, pixels (the first one's centre is 0, 0), or a file with such a table. Only
        these make the PSF.
    image : `~numpy.ndarray`, path or `None`
        The PSF itself, sampled like the image, or a FITS file with it.
    named : `bool`
        Whether all this is the user's knowledge, and not that of another image.
    """

    seeing: float | None = None
    stars: Table | str | Path | None = None
    image: NDArray[np.floating] | str | Path | None = None
    named: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class FoundPsf:
    """An image's PSF, if it shows one, and its sources.

    Attributes
    ----------
    psf : `~prompt_processing.images.Psf` or `None`
        The PSF.
    stars : `int`
        Number of stars in the model.
    detections : `~prompt_processing.imaging.calibration.detection.Detections`
        Sources of all kinds.
    sources : `str`
        Summary of the sources' measured widths, for a message.
    """

    psf: Psf | None
    stars: int
    detections: Detections
    sources: str


def find_psf(
    exposure: Exposure,
    rms: NDArray[np.float32],
    noise: float,
    name: str,
    settings: PsfSettings,
    fwhm_guess: float = 3.0,
) -> FoundPsf:
    """Find the sources of an image, the stars among them, and the PSF.

    Parameters
    ----------
    exposure : `~prompt_processing.images.Exposure`
        Background-subtracted, with a variance.
    rms : `~numpy.ndarray` of float32, shape (height, width)
        Scatter of the sky with its unresolved sources, above which others are detected.
    noise : `float`
        Noise of a sky pixel, in the unit of the image.
    name : `str`
        Name of the image, for messages.
    settings : `PsfSettings`
        The user's knowledge of the PSF.
    fwhm_guess : `float`, optional
        First estimate of the FWHM, pixels.

    Raises
    ------
    StarsTooWideError
        Raised if stars are wider than `WIDEST`.
    NoStarsError
        Raised if the PSF or stars in the settings are unusable.
    """
    unusable = exposure.has(UNUSABLE & ~Mask.SAT)
    fwhm = settings.seeing or _guess_in_middle(exposure, rms, noise, unusable, fwhm_guess)
    for _ in range(3):
        detections, profiles, snr, seen = _find_sources(exposure, rms, noise, unusable, fwhm)
        found = _of_seeing(seen, settings.seeing)
        if settings.seeing is not None or not found.fwhm > 0 or _is_near(found.fwhm, fwhm):
            break
        fwhm = float(np.clip(found.fwhm, *GUESSES))
    told = found.describe()
    if settings.named:
        _compare_seeing(seen, settings.seeing, name, "is the named seeing right")
    if settings.image is not None:
        psf = _given_psf(settings.image)
        _compare_seeing(seen, psf.fwhm_at(), name, "is the named PSF that of this image")
        return FoundPsf(psf, 0, detections, told)
    if settings.stars is not None:
        x, y = given_stars(settings.stars)
        profiles = measure_profiles(exposure.image, exposure.mask, x, y, noise, int(UNUSABLE))
        if not profiles["good"].any():
            raise NoStarsError(f"{name}: none of the {len(x)} named stars has a measurable width.")
        psf, n = _few_stars(exposure, profiles[profiles["good"]])
        _compare_seeing(seen, psf.fwhm_at(), name, "are the named stars stars")
        return FoundPsf(psf, n, detections, told)
    if not found.stars.any():
        if settings.seeing is not None:
            return FoundPsf(round_psf(settings.seeing), 0, detections, told)
        return FoundPsf(None, 0, detections, told)
    if found.fwhm > WIDEST:
        raise StarsTooWideError(
            f"{name}: stars are {found.fwhm:.1f} pixels wide (FWHM), more than the {WIDEST:.0f} that the "
            "fits allow",
            found.fwhm,
            f"bin the image by {int(np.ceil(found.fwhm / 6))}. ({told}.)",
        )
    psf, n = _from_stars(exposure, detections, profiles, snr, found)
    return FoundPsf(psf, n, detections, told)


def _find_sources(
    exposure: Exposure, rms: NDArray[np.float32], noise: float, unusable: NDArray[np.bool_], fwhm: float
) -> tuple[Detections, NDArray[np.void], NDArray[np.float64], StarWidths]:
    """Detect sources with a filter of some FWHM; return them, their profiles, significance, and the stars."""
    detections = detect(exposure.image, rms, fwhm, 5.0, unusable)
    profiles = measure_profiles(
        *(exposure.image, exposure.mask, detections.catalogue["xpeak"], detections.catalogue["ypeak"]),
        *(noise, int(UNUSABLE)),
    )
    snr = profiles["height"] / noise * np.sqrt(np.pi) * (profiles["xx"] * profiles["yy"]) ** 0.25
    return detections, profiles, snr, find_stars(profiles, snr)


def _guess_in_middle(
    exposure: Exposure, rms: NDArray[np.float32], noise: float, unusable: NDArray[np.bool_], guess: float
) -> float:
    """Return the FWHM of the stars in the middle of a large image if it is far from a guess, else the guess.

    With a filter of another width, all sources would have to be found a second time.
    """
    if min(exposure.shape) < 2 * MIDDLE:
        return guess
    top, left = ((length - MIDDLE) // 2 for length in exposure.shape)

    def cut[Value: np.generic](plane: NDArray[Value]) -> NDArray[Value]:
        return np.ascontiguousarray(plane[top : top + MIDDLE, left : left + MIDDLE])

    middle = Exposure(cut(exposure.image), cut(exposure.mask), cut(exposure.variance))
    try:
        *_, seen = _find_sources(middle, cut(rms), noise, cut(unusable), guess)
    except DetectionError:
        return guess
    if np.count_nonzero(seen.stars) < STARS_OF_GUESS or not seen.fwhm > 0 or _is_near(seen.fwhm, guess):
        return guess
    return float(np.clip(seen.fwhm, *GUESSES))


def _is_near(fwhm: float, filtered: float) -> bool:
    """Return whether stars are about as wide as the filter that found them."""
    return 0.75 < fwhm / filtered < 1.33


def no_psf_message(name: str, sources: str) -> str:
    """Return a message that says what a user can do about an image without a star."""
    return f"{name}: no star shows the PSF: {sources}. {OPTIONS}"


def _of_seeing(found: StarWidths, seeing: float | None) -> StarWidths:
    """Return sources of the user's seeing as the stars."""
    if seeing is None:
        return found
    with np.errstate(invalid="ignore"):
        stars = np.abs(np.log(found.widths / seeing)) < 0.2
    return StarWidths(stars, seeing, found.widths, found.sharp)


def _compare_seeing(seen: StarWidths, seeing: float | None, name: str, question: str) -> None:
    """Warn if many stars have another width than what the user names."""
    stars = int(np.count_nonzero(seen.stars))
    if seeing is None or stars < CONTRADICTING or not seen.fwhm > 0:
        return
    if not 1 / SEEING_RATIO < seen.fwhm / seeing < SEEING_RATIO:
        _LOG.warning(
            "%s: %d sources look like stars of %.1f pixels, not %.1f; %s?",
            *(name, stars, seen.fwhm, seeing, question),
        )


def _from_stars(
    exposure: Exposure,
    detections: Detections,
    profiles: NDArray[np.void],
    snr: NDArray[np.float64],
    found: StarWidths,
) -> tuple[Psf, int]:
    """Model the PSF from the stars of an image; return the PSF and their number."""
    x, y = (np.where(profiles["good"], profiles[name], 0.0).astype(float) for name in ("x", "y"))
    light = np.where(profiles["good"], profiles["light"], detections.flux)
    rows, share = _choose(exposure, x, y, light, snr, found)
    rows = rows[without_halo(exposure.image, x[rows], y[rows], found.fwhm)]
    if len(rows) < 3:
        return _few_stars(exposure, profiles[rows])
    labels = (rows + 1).astype(np.int32)
    options = PsfOptions(min_stars=3, max_size=MAX_PSF_SIZE, min_fwhm=NARROWEST, max_ellipticity=0.9)
    try:
        model = model_psf(
            *(exposure, x[rows], y[rows], light[rows], found.fwhm, detections.segmentation, labels, options)
        )
        area = np.pi * (2 * found.fwhm) ** 2
        if share > ALONE and len(detections) * area > CROWDED * exposure.image.size:
            model = _without_neighbours(exposure, model.psf, x, y, light, rows, found.fwhm, options)
    except (TooFewStarsError, BadPsfError):
        return _few_stars(exposure, profiles[rows])
    return model.psf, int(model.used.sum())


def _choose(
    exposure: Exposure,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    light: NDArray[np.float64],
    snr: NDArray[np.float64],
    found: StarWidths,
) -> tuple[NDArray[np.intp], float]:
    """Return the rows of the best stars for the PSF: bright, undamaged, isolated.

    Also return the share of their light allowed in neighbours.
    """
    height, width = exposure.shape
    reach = 1.5 * found.fwhm
    inside = (x > reach) & (x < width - 1 - reach) & (y > reach) & (y < height - 1 - reach)
    columns, rows = np.clip(np.rint(x), 0, width - 1), np.clip(np.rint(y), 0, height - 1)
    unhurt = ~touches(exposure.mask, columns, rows, int(np.ceil(0.5 * found.fwhm)), np.int32(int(UNUSABLE)))
    for usable in (inside & unhurt, inside, np.ones_like(inside)):
        for enough, n_radii, significances in ENOUGH:
            for least in STAR_SNR[significances]:
                rows = np.flatnonzero(found.stars & usable & (snr > least))
                for radius, share in ISOLATION[:n_radii]:
                    alone = rows[isolated(x, y, light, rows, radius * found.fwhm, share)]
                    if len(alone) >= enough:
                        return alone, share
    return np.flatnonzero(found.stars), 1.0


def _without_neighbours(
    exposure: Exposure,
    psf: Psf,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    light: NDArray[np.float64],
    rows: NDArray[np.intp],
    fwhm: float,
    options: PsfOptions,
) -> PsfModel:
    """Model the PSF again with all other sources subtracted; a second pass uses better fluxes."""
    others = np.ones(len(x), np.bool_)
    others[rows] = False
    for _ in range(2):
        left = Exposure(exposure.image.copy(), exposure.mask, exposure.variance, psf=psf)
        flux = np.where(np.isfinite(light), light, 0.0)
        px, py = x.copy(), y.copy()
        for _ in range(3):
            # The residual of all sources corrects each one's flux for the others.
            left.image[...] = exposure.image
            subtract_sources(left.image, psf, px, py, flux)
            fits_ = fit_psf(left, px, py, radius=fwhm, iterations=0)
            flux = np.maximum(flux + np.nan_to_num(fits_.flux), 0.0)
        left.image[...] = exposure.image
        subtract_sources(left.image, psf, px[others], py[others], flux[others])
        model = model_psf(left, px[rows], py[rows], np.maximum(flux[rows], 1e-3 * flux[rows].max()), fwhm,
                          options=options)  # fmt: skip
        psf = model.psf
    return model


def _few_stars(exposure: Exposure, profiles: NDArray[np.void]) -> tuple[Psf, int]:
    """Return the mean profile of one or a few stars."""
    light = np.maximum(profiles["light"].astype(float), 0)
    weight = np.minimum(light, np.median(light)) if len(light) > 2 else light
    xx, yy, xy = (
        float(np.average(profiles[name].astype(float), weights=weight)) for name in ("xx", "yy", "xy")
    )
    return fit_parametric_psf(
        exposure, profiles["x"].astype(float), profiles["y"].astype(float), (xx, yy, xy)
    ), len(profiles)


def given_stars(stars: Table | str | Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the positions of a user's stars, pixels.

    Raises
    ------
    DifferenceError
        Raised if there is no such table, or it is empty.
    """
    if not isinstance(stars, Table):
        return read_star_positions(stars)
    if not {"x", "y"} <= set(stars.colnames) or not len(stars):
        raise DifferenceError(
            f"The stars of the PSF need columns x and y, pixels; there are {stars.colnames}."
        )
    return np.asarray(stars["x"], float), np.asarray(stars["y"], float)


def _given_psf(image: NDArray[np.floating] | str | Path) -> Psf:
    """Return the user's PSF centred on the middle of an odd number of pixels, of sum 1."""
    if isinstance(image, str | Path):
        values = read_psf_image(image)
    else:
        values = np.asarray(image, float)
        check_psf_image(values, "The PSF")
    half = min(max(values.shape) // 2, MAX_PSF_SIZE // 2)
    rows, columns = np.indices(values.shape)
    core = np.maximum(values - 0.3 * values.max(), 0)
    row, column = (float((core * axis).sum() / core.sum()) for axis in (rows, columns))
    offsets = np.arange(-half, half + 1)
    at = np.meshgrid(offsets + row, offsets + column, indexing="ij")
    centred = ndimage.map_coordinates(values, at, order=3, mode="constant")
    return Psf((centred / centred.sum())[np.newaxis].astype(np.float32))
