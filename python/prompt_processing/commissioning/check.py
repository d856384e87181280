"""Check the description of an instrument with frames: what each means, how it looks, where it points."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.domain.ids import pack_id
from prompt_processing.imaging.errors import NumericalError
from prompt_processing.instruments import (
    Detector,
    Instrument,
    Observation,
    RawError,
    detector_centre,
    read_detector_headers,
    read_raw,
    translate,
)

from .assembled import assembled, draw_detectors, preview
from .pointing import Solution, find_stars, solution_of_wcs, solve

__all__ = ["CheckedFrame", "check_frames", "pointing_remark"]

_MOST_STARS_OF_CATALOGUE = 200_000
_ENDING = re.compile(r"(?i)(\.fi?ts?)?(\.fz|\.gz)?$")
"""End of a frame's name, which its picture lacks: points before it may precede a number."""
_SAME_ROTATION_DEG = 1.0
_SAME_SCALE = 0.005
_SAME_POINTING_ARCSEC = 30.0


@dataclass(slots=True, eq=False)
class CheckedFrame:
    """What became of a frame.

    Attributes
    ----------
    path
        The file.
    observation
        Translated header; `None` if it cannot be translated.
    detectors
        Detectors in the file.
    picture
        Picture of the assembled detectors.
    solution
        Pointing from the stars or from the WCS of the header.
    solved_by
        Which of them.
    problems
        What makes the frame unusable.
    remarks
        What should be looked at, with the values to enter.
    """

    path: Path
    observation: Observation | None = None
    detectors: tuple[int, ...] = ()
    picture: Path | None = None
    solution: Solution | None = None
    solved_by: str = ""
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def check_frames(
    instrument: Instrument,
    paths: Sequence[Path],
    pictures: Path,
    catalogue: NDArray[np.float64] | None = None,
    position: tuple[float, float] | None = None,
) -> list[CheckedFrame]:
    """Read frames with an instrument's description.

    Parameters
    ----------
    instrument
        The instrument, which must be the one that `~prompt_processing.instruments.translate` finds.
    paths
        Raw frames.
    pictures
        Folder for the pictures.
    catalogue : `~numpy.ndarray`, shape (n, 2), optional
        Right ascension and declination of reference stars, degrees, brightest first.
    position
        Approximate position of frames whose headers have none, degrees.

    Returns
    -------
    checked
        One entry for each frame, in the same order.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    taken: set[Path] = set()
    checked = [_check(instrument, path, pictures, taken, catalogue, position) for path in paths]
    by_id: dict[int, Path] = {}
    for one in checked:
        if one.observation is None:
            continue
        other = by_id.setdefault(one.observation.exposure_id, one.path)
        if other != one.path and not _same_exposure(checked, other, one):
            one.problems.append(
                f"it has the exposure id {one.observation.exposure_id} of {other.name}: "
                "the rule for exposure ids must tell them apart"
            )
    return checked


def _same_exposure(checked: Sequence[CheckedFrame], other: Path, one: CheckedFrame) -> bool:
    """Return whether two files hold different detectors of one exposure."""
    first = next(each for each in checked if each.path == other)
    return bool(first.detectors) and not set(first.detectors) & set(one.detectors)


def _check(
    instrument: Instrument,
    path: Path,
    pictures: Path,
    taken: set[Path],
    catalogue: NDArray[np.float64] | None,
    position: tuple[float, float] | None,
) -> CheckedFrame:
    one = CheckedFrame(path)
    try:
        headers = read_detector_headers(path)
    except RawError as error:
        one.problems.append(_reason(error, path))
        return one
    one.detectors = tuple(headers)
    first = next(iter(headers.values()))
    try:
        one.observation = translate(first, str(path))
    except RawError as error:
        one.problems.append(_reason(error, path))
    else:
        if one.observation.instrument != instrument.name:
            one.problems.append(
                f"it is recognised as {one.observation.instrument}: its recognised_by matches the header too"
            )
            return one
        _remark_on(one.observation, instrument, one)
    images: dict[int, NDArray[np.float32]] = {}
    for number in headers:
        try:
            frame = read_raw(path, instrument=instrument.name, detector=number)
        except RawError as error:
            one.problems.append(_reason(error, path))
            continue
        detector = instrument.camera.detector(number)
        if frame.shape != (detector.height, detector.width):
            one.remarks.append(
                f"detector {detector.name} has {frame.shape[1]} x {frame.shape[0]} pixels, not "
                f"{detector.width} x {detector.height} as described"
            )
        image = assembled(frame, detector)
        images[number] = preview(image) if len(headers) > 1 else image
    if images:
        one.picture = _unused(pictures, _ENDING.sub("", path.name), taken)
        shown = one.observation
        title = (
            path.name if shown is None else f"{path.name}: {shown.observation_type}, {shown.physical_filter}"
        )
        draw_detectors(one.picture, instrument.camera, images, title)
    if one.observation is not None and one.observation.observation_type == "science" and images:
        _solve(instrument, one, headers, images, catalogue, position)
    return one


def _unused(folder: Path, stem: str, taken: set[Path]) -> Path:
    """Return a picture's path that no other frame of this run has."""
    path, number = folder / f"{stem}.png", 1
    while path in taken:
        number += 1
        path = folder / f"{stem}-{number}.png"
    taken.add(path)
    return path


def _reason(error: Exception, path: Path) -> str:
    return str(getattr(error, "reason", error)).removeprefix(f"{path}: ")


def _remark_on(observation: Observation, instrument: Instrument, one: CheckedFrame) -> None:
    if observation.observation_type == "unknown":
        one.remarks.append("the type of the observation is unknown: see header.observation_type")
    else:
        known = {
            *instrument.document.image_types.values(),
            "science",
            *(kind for kinds in instrument.document.calibration_types.values() for kind in kinds),
        }
        if observation.observation_type not in known:
            one.remarks.append(
                f"the type {observation.observation_type!r} is none that calibrations or science need: "
                "see image_types"
            )
    try:
        pack_id(observation.exposure_id, observation.detector, 0)
    except ValueError as error:
        one.problems.append(f"sources cannot be numbered by this exposure id: {error}")
    if observation.physical_filter not in instrument.camera.filters:
        one.remarks.append(f"the filter {observation.physical_filter!r} is not among the filters")
    if observation.observation_type == "science":
        if observation.ra is None:
            one.remarks.append("the header has no position")
        if observation.rotation is None:
            one.remarks.append("the header has no rotation, without which a visit has no region on the sky")


def _solve(
    instrument: Instrument,
    one: CheckedFrame,
    headers: Mapping[int, Mapping[str, Any]],
    images: Mapping[int, NDArray[np.float32]],
    catalogue: NDArray[np.float64] | None,
    position: tuple[float, float] | None,
) -> None:
    """Solve the pointing from the catalogue or else from the header's WCS; compare it to the prediction."""
    observation = one.observation
    assert observation is not None
    camera = instrument.camera
    # The detector nearest to the boresight has the least distortion.
    number = min(images, key=lambda id_: camera.detector(id_).x_mm ** 2 + camera.detector(id_).y_mm ** 2)
    detector = camera.detector(number)
    image = assembled(read_raw(one.path, detector=number), detector) if len(images) > 1 else images[number]
    near = _near(instrument, observation, detector, position)
    if catalogue is not None and near is not None:
        try:
            stars = find_stars(image)
        except NumericalError as error:
            one.remarks.append(f"no stars found: {error}")
            return
        one.solution = solve(stars, camera, detector, image.shape, catalogue[:_MOST_STARS_OF_CATALOGUE], near)
        one.solved_by = "stars"
        if one.solution is None:
            one.remarks.append(
                f"the {len(stars)} stars of detector {detector.name} have no pattern in common with the "
                f"catalogue near {near[0]:.4f}, {near[1]:.4f}: check the position and the plate scale"
            )
    if one.solution is None:
        wcs = _header_wcs(headers[number])
        if wcs is not None:
            one.solution = solution_of_wcs(camera, detector, wcs, image.shape)
            one.solved_by = "the header's WCS"
    if one.solution is not None:
        _compare(instrument, observation, one.solution, one)


def _near(
    instrument: Instrument,
    observation: Observation,
    detector: Detector,
    position: tuple[float, float] | None,
) -> tuple[float, float] | None:
    if position is not None:
        return position
    if observation.ra is None or observation.dec is None:
        return None
    return detector_centre(
        instrument.camera, detector, observation.ra, observation.dec, observation.rotation or 0.0
    )


def _header_wcs(header: Mapping[str, Any]) -> WCS | None:
    """Return the celestial WCS of a header, or `None`."""
    cards = fits.Header()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        for key, value in header.items():
            try:
                cards[key] = value
            except ValueError:
                continue
        try:
            wcs = WCS(cards, naxis=2)
        except Exception:  # noqa: BLE001  # wcslib has many errors of its own
            return None
    if not wcs.has_celestial or ("CD1_1" not in header and "CDELT1" not in header and "PC1_1" not in header):
        return None
    scale = 3600 * float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))))
    return wcs if 0.001 < scale < 600 else None


def _compare(instrument: Instrument, observation: Observation, found: Solution, one: CheckedFrame) -> None:
    """Enter the differences between the predicted and the solved pointing, with the values to enter."""
    document = instrument.document
    if found.parity_flipped_x != document.parity_flipped_x:
        one.remarks.append(
            f"the parity is the other one: parity_flipped_x: {str(found.parity_flipped_x).lower()}"
        )
    scale = found.scale_arcsec / document.pixel_mm
    if abs(scale / document.plate_scale_arcsec_per_mm - 1) > _SAME_SCALE:
        one.remarks.append(f"the plate scale is {scale:.4f}: plate_scale_arcsec_per_mm: {scale:.4f}")
    if observation.rotation is not None:
        difference = (found.rotation - observation.rotation + 180) % 360 - 180
        if abs(difference) > _SAME_ROTATION_DEG:
            rule = document.header.rotation if document.header is not None else None
            fixed = rule is not None and not rule.keywords and not rule.add_180_where
            entry = f"constant: {found.rotation:.2f}" if fixed else f"add {difference:+.2f} degrees"
            one.remarks.append(
                f"the rotation is {found.rotation:.2f} degrees, not {observation.rotation:.2f}: "
                f"header.rotation: {entry}"
            )
    if observation.ra is not None and observation.dec is not None:
        predicted = SkyCoord(observation.ra, observation.dec, unit=u.deg)
        east, north = predicted.spherical_offsets_to(SkyCoord(found.ra, found.dec, unit=u.deg))
        if remark := pointing_remark(float(east.arcsec), float(north.arcsec)):
            one.remarks.append(remark)


def pointing_remark(east: float, north: float) -> str:
    """Return what to do about a pointing that is off by so many arcsec; empty if templates cover it."""
    distance = math.hypot(east, north)
    if distance <= _SAME_POINTING_ARCSEC:
        return ""
    margin = 10 * math.ceil(distance / 8)
    return (
        f"the pointing is off by {east:.0f} arcsec east and {north:.0f} north: correct it, or load templates "
        f"for a larger margin: PRELOAD_PADDING={margin}"
    )
