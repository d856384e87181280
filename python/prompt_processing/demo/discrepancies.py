"""Missed and spurious sources of the demo's night, each with the reason for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from astropy.table import Table
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray

from prompt_processing.images import UNUSABLE, Exposure, Mask
from prompt_processing.imaging.psf_flux import forced_psf_flux

from .score import CHANGED_SNR, TransientScore, magnitude, match_radius

__all__ = ["CUTOUT_PIXELS", "Discrepancy", "VisitProducts", "explain"]

CUTOUT_PIXELS = 41
_UNDETECTABLE = UNUSABLE & ~Mask.EDGE | Mask.SAT_TEMPLATE | Mask.STREAK
"""Mask planes of pixels that the detection leaves out."""
_DISTURBING = _UNDETECTABLE | Mask.SUSPECT
"""Mask planes that explain a spurious source whatever else is near ..."""
_POSSIBLY_DISTURBING = Mask.EDGE | Mask.INTRP
"""... and those that explain it where nothing else does."""
_WINGS_FWHM = 3.0
"""Distance up to which a bright star's wings are considered, in units of the FWHM ..."""
_WINGS_RATIO = 10.0
"""... if it is brighter than the spurious source by this factor."""


@dataclass(frozen=True, slots=True, eq=False)
class VisitProducts:
    """Images and catalogues of one detector in one visit that explain its discrepancies.

    Attributes
    ----------
    science, template, difference : `Exposure`
        On the same pixels, nJy; the template before it was matched to the seeing.
    detected : `~astropy.table.Table`
        All detections (``dia_source_unfiltered``).
    rejected : `~astropy.table.Table`
        Those that a filter rejected, with ``reason`` (``rejected_dia_source``).
    threshold : `float`
        Signal-to-noise ratio from which on the matched filter detects a source.
    """

    science: Exposure
    template: Exposure
    difference: Exposure
    detected: Table
    rejected: Table
    threshold: float

    @property
    def near_pixels(self) -> float:
        """Distance within which a detection and a source share their light: the FWHM, pixels."""
        height, width = self.difference.shape
        assert self.difference.psf is not None, "it was detected on"
        return max(float(self.difference.psf.fwhm_at((width - 1) / 2, (height - 1) / 2)), 2.0)

    @property
    def pixel_arcsec(self) -> float:
        """Width of a pixel, arcsec."""
        return float(np.mean(proj_plane_pixel_scales(self.difference.wcs))) * 3600


@dataclass(frozen=True, slots=True, eq=False)
class Discrepancy:
    """A source that was missed, or a detection where nothing had changed.

    Attributes
    ----------
    what : `str`
        ``missed`` or ``spurious``.
    id : `int`
        Of the simulated source if missed, of the DiaSource if spurious.
    kind : `str`
        Of the simulated source; ``-`` if spurious.
    ra, dec : `float`
        Degrees.
    x, y : `float`
        Pixels.
    mag : `float`
        AB magnitude of the change.
    snr : `float`
        Expected if missed, measured if spurious.
    reason : `str`
        In a few words.
    detail : `str`
        The numbers and neighbours behind the reason.
    cutouts : `tuple` of `~numpy.ndarray`
        Science, template and difference, nJy, `CUTOUT_PIXELS` wide; NaN off the image.
    """

    what: str
    id: int
    kind: str
    ra: float
    dec: float
    x: float
    y: float
    mag: float
    snr: float
    reason: str
    detail: str
    cutouts: tuple[NDArray[np.float32], ...] = field(default=(), repr=False)

    def row(self) -> dict[str, Any]:
        """Return all but the cutouts, as a row of a table."""
        names = ("what", "id", "kind", "ra", "dec", "x", "y", "mag", "snr", "reason", "detail")
        return {name: getattr(self, name) for name in names}


def explain(
    truth: pd.DataFrame, dia_sources: pd.DataFrame, score: TransientScore, products: VisitProducts | None
) -> list[Discrepancy]:
    """Find the reason for each missed and each spurious source above the threshold of the score.

    Parameters
    ----------
    truth : `~pandas.DataFrame`
        As for `.score.score_transients`, with ``flux`` (nJy).
    dia_sources : `~pandas.DataFrame`
        The visit's DiaSources in the APDB.
    score : `.score.TransientScore`
        Their comparison.
    products : `VisitProducts` or `None`
        The visit's outputs; None if it was not processed, which is the reason then.

    Returns
    -------
    discrepancies : `list` [`Discrepancy`]
        The missed sources, then the spurious ones, each brightest first.
    """
    # As records, not as series: a series of numbers would turn ids into floats and lose their last digits.
    missed = _records(score.missed.sort_values("snr", ascending=False))
    spurious = _records(score.spurious.sort_values("snr", key=np.abs, ascending=False))
    if products is None:
        nothing = "no difference image", "the visit was not processed with difference imaging"
        return [
            *(_missed(one, (np.nan, np.nan), nothing) for one in missed),
            *(_spurious(one, nothing) for one in spurious),
        ]
    assert products.difference.wcs is not None, "sources have positions"
    sky = truth.reset_index(drop=True)
    x, y = products.difference.wcs.all_world2pix(sky["ra"].to_numpy(float), sky["dec"].to_numpy(float), 0)
    sky = sky.assign(x=x, y=y)
    kept = set(dia_sources["diaSourceId"].astype(int))
    recovered = _records(score.injected[score.injected["recovered"]])
    owners = {int(one["diaSourceId"]): _name(one) for one in recovered}
    found = []
    for one in missed:
        place = _records(sky[(sky["id"] == one["id"]) & (sky["kind"] == one["kind"])])[0]
        position = float(place["x"]), float(place["y"])
        why = _why_missed(place, sky, products, kept, owners)
        found.append(_missed(one, position, why, _cutouts(products, *position)))
    for one in spurious:
        why = _why_spurious(one, sky, products, owners)
        found.append(_spurious(one, why, _cutouts(products, float(one["x"]), float(one["y"]))))
    return found


def _missed(
    source: Mapping[str, Any],
    position: tuple[float, float],
    why: tuple[str, str],
    cutouts: tuple[NDArray[np.float32], ...] = (),
) -> Discrepancy:
    return Discrepancy(
        what="missed",
        id=int(source["id"]),
        kind=str(source["kind"]),
        ra=float(source["ra"]),
        dec=float(source["dec"]),
        x=position[0],
        y=position[1],
        mag=float(source["mag"]),
        snr=float(source["snr"]),
        reason=why[0],
        detail=why[1],
        cutouts=cutouts,
    )


def _spurious(
    source: Mapping[str, Any], why: tuple[str, str], cutouts: tuple[NDArray[np.float32], ...] = ()
) -> Discrepancy:
    return Discrepancy(
        what="spurious",
        id=int(source["diaSourceId"]),
        kind="-",
        ra=float(source["ra"]),
        dec=float(source["dec"]),
        x=float(source["x"]),
        y=float(source["y"]),
        mag=float(magnitude(np.array([source["psfFlux"]], float))[0]),
        snr=float(abs(source["snr"])),
        reason=why[0],
        detail=why[1],
        cutouts=cutouts,
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _name(source: Mapping[str, Any]) -> str:
    return f"{source['kind']} {int(source['id'])}"


def _why_missed(
    place: Mapping[str, Any],
    sky: pd.DataFrame,
    products: VisitProducts,
    kept: set[int],
    owners: Mapping[int, str],
) -> tuple[str, str]:
    """Follow a source through template, detection and filters; the step that lost it is the reason."""
    x, y = float(place["x"]), float(place["y"])
    if _is_off(products.template, x, y):
        return "off the template", "the template has no data at this position"
    distance = np.hypot(np.asarray(products.detected["x"]) - x, np.asarray(products.detected["y"]) - y)
    near = products.near_pixels + _half_trail(place)
    reasons = dict(zip(products.rejected["diaSourceId"].tolist(), products.rejected["reason"], strict=True))
    for row in np.argsort(distance)[: int(np.count_nonzero(distance < near))]:
        one = products.detected[int(row)]
        number = int(one["diaSourceId"])
        seen = _describe(one, float(distance[row]))
        if number in reasons:
            return f"filter: {reasons[number]}", f"{seen}; {_filter_numbers(one)}"
        if number in owners:
            return "merged", f"with {owners[number]}, which was recovered as {seen}"
        if number not in kept:
            return "not in the APDB", f"{seen} passed the filters and was not stored"
        if planes := _planes(products.difference, x, y, 0) & _UNDETECTABLE:
            # What is left beside a masked core is not the source.
            return f"mask: {_names(planes)}", f"{seen} lies beside the masked pixels"
        if others := [name for name in _changed_near(one, sky, products) if name != _name(place)]:
            return "merged", f"with {', '.join(others)} in {seen}"
        return "displaced", f"{seen}; the match radius is {_match_radius(sky):.2g} arcsec"
    return _why_undetected(place, sky, products, distance)


def _why_undetected(
    place: Mapping[str, Any], sky: pd.DataFrame, products: VisitProducts, distance: NDArray[np.float64]
) -> tuple[str, str]:
    x, y = float(place["x"]), float(place["y"])
    planes = _planes(products.difference, x, y, 1) & _UNDETECTABLE
    flux, error, _ = forced_psf_flux(products.difference, x, y, int(_UNDETECTABLE))
    if not np.isfinite(flux[0]):
        return f"mask: {_names(planes)}", "over half of the PSF falls on masked pixels"
    snr = flux[0] / error[0]
    measured = f"the matched filter's S/N is {snr:.1f}, {place['snr']:.1f} was expected"
    if planes:
        return f"mask: {_names(planes)}", measured
    if abs(snr) < products.threshold:
        return "below the threshold", measured
    if np.sign(snr) != np.sign(place["snr"]):
        return "wrong sign", measured
    if len(distance) and distance.min() < _WINGS_FWHM * products.near_pixels:
        row = int(np.argmin(distance))
        one = products.detected[row]
        others = [name for name in _changed_near(one, sky, products) if name != _name(place)]
        into = f"with {', '.join(others)} in " if others else "into "
        return "merged", f"{into}{_describe(one, float(distance[row]))}; {measured}"
    return "not detected", measured


def _describe(detected: Table.Row, distance: float) -> str:
    length = float(detected["trailLength"])
    trail = f", fitted as a trail of {length:.1f} arcsec" if np.isfinite(length) else ""
    number, snr = detected["diaSourceId"], abs(detected["snr"])
    return f"DiaSource {number} (S/N {snr:.0f}{trail}), {distance:.1f} pixels away"


def _changed_near(detected: Table.Row, sky: pd.DataFrame, products: VisitProducts) -> list[str]:
    """Return the names of the changed sources within a detection, the nearest first."""
    distance = np.hypot(sky["x"].to_numpy(float) - detected["x"], sky["y"].to_numpy(float) - detected["y"])
    length = float(np.nan_to_num(detected["trailLength"])) / products.pixel_arcsec
    reach = products.near_pixels + _half_trails(sky) + length / 2
    within = (np.abs(sky["snr"].to_numpy(float)) > CHANGED_SNR) & (distance < reach)
    nearest = sky.iloc[np.argsort(np.where(within, distance, np.inf))[: np.count_nonzero(within)]]
    return [_name(one) for one in _records(nearest)]


def _why_spurious(
    source: Mapping[str, Any], sky: pd.DataFrame, products: VisitProducts, owners: Mapping[int, str]
) -> tuple[str, str]:
    """Look for whatever was at the place: changed sources first, then bad pixels, then static sources."""
    x, y = float(source["x"]), float(source["y"])
    distance = np.hypot(sky["x"].to_numpy(float) - x, sky["y"].to_numpy(float) - y)
    rows = np.flatnonzero(np.asarray(products.detected["diaSourceId"]) == int(source["diaSourceId"]))
    detected = products.detected[int(rows[0])]
    measured = _filter_numbers(detected)
    if changed := _changed_near(detected, sky, products):
        recovered = set(owners.values())
        if lost := [name for name in changed if name not in recovered]:
            reason = "merged sources" if len(lost) > 1 else "displaced"
            place = sky.iloc[_row_of(lost[0], sky)]
            if masked := _planes(products.difference, place["x"], place["y"], 0) & _UNDETECTABLE:
                reason = f"beside masked pixels: {_names(masked)}"
            away = f"beyond the match radius of {_match_radius(sky):.2g} arcsec"
            seen = _describe(detected, float(distance[_row_of(lost[0], sky)]))
            return reason, f"{' and '.join(lost)}, {away}: {seen}; {measured}"
        return "second detection", f"{' and '.join(changed)} was recovered as another DiaSource; {measured}"
    near = products.near_pixels
    neighbour, light = _static_neighbour(source, sky, distance, near)
    planes = _planes(products.difference, x, y, round(near))
    detail = "; ".join(part for part in (light, measured) if part)
    if planes & _DISTURBING:
        return f"beside masked pixels: {_names(planes & _DISTURBING)}", detail
    if neighbour:
        return neighbour, detail
    if planes & _POSSIBLY_DISTURBING:
        return f"beside masked pixels: {_names(planes & _POSSIBLY_DISTURBING)}", detail
    return "nothing at this position", f"an artefact of the detector or of the subtraction; {detail}"


def _match_radius(sky: pd.DataFrame) -> float:
    return match_radius(float(sky.attrs.get("fwhm_arcsec", 0.0)))


def _row_of(name: str, sky: pd.DataFrame) -> int:
    return next(row for row, one in enumerate(_records(sky)) if _name(one) == name)


def _static_neighbour(
    source: Mapping[str, Any], sky: pd.DataFrame, distance: NDArray[np.float64], near: float
) -> tuple[str, str]:
    flux = sky["flux"].to_numpy(float)
    change = abs(float(source["psfFlux"]))
    # A source fainter than the residual cannot have left it.
    within = (distance < near) & (flux > change)
    wings = (distance < _WINGS_FWHM * near) & (flux > _WINGS_RATIO * change)
    if not (within | wings).any():
        return "", ""
    # The wings of seeing fall as the fourth power of the distance, or nearly so.
    light = flux * np.fmin(near / np.fmax(distance, 1e-3), 1) ** 4
    row = int(np.argmax(np.where(within | wings, light, -np.inf)))
    kind = str(sky["kind"].iloc[row])
    mag = float(magnitude(flux[row : row + 1])[0])
    return f"{'residual' if within[row] else 'wings'} of a {kind}", (
        f"{kind} of {mag:.1f} mag {distance[row]:.1f} pixels ({distance[row] / near:.1f} FWHM) away, "
        f"the residual is {change / flux[row]:.2%} of its flux"
    )


def _filter_numbers(detected: Table.Row) -> str:
    """Return the measurements that the filters judge."""
    light = np.fmax(detected["templateFlux"], detected["scienceFlux"])
    return (
        f"misfit {detected['misfit']:.2f}, "
        f"change {_ratio(detected['psfFlux'], light)} of the light at its position and "
        f"{_ratio(detected['psfFlux'], detected['nearbyFlux'])} of the brightest star nearby"
    )


def _ratio(change: float, light: float) -> str:
    return f"{abs(change) / light:.1%}" if light > 0 else "all"


def _half_trail(place: Mapping[str, Any]) -> float:
    return float(np.hypot(place.get("trail_x", 0.0), place.get("trail_y", 0.0))) / 2


def _half_trails(sky: pd.DataFrame) -> NDArray[np.float64]:
    if "trail_x" not in sky:
        return np.zeros(len(sky))
    return np.hypot(sky["trail_x"].to_numpy(float), sky["trail_y"].to_numpy(float)) / 2


def _is_off(template: Exposure, x: float, y: float) -> bool:
    column, row = round(x), round(y)
    height, width = template.shape
    if not (0 <= column < width and 0 <= row < height):
        return True
    no_data = bool(template.mask[row, column] & int(Mask.NO_DATA))
    return no_data or not np.isfinite(template.image[row, column])


def _planes(image: Exposure, x: float, y: float, reach: int) -> int:
    """Return the mask planes within a square around a position."""
    column, row = round(x), round(y)
    rows = slice(max(row - reach, 0), max(row + reach + 1, 0))
    part = image.mask[rows, max(column - reach, 0) : max(column + reach + 1, 0)]
    return int(np.bitwise_or.reduce(part, axis=None)) if part.size else int(Mask.NO_DATA)


def _names(planes: int) -> str:
    return ", ".join(plane.name for plane in Mask if planes & plane and plane.name) or "none"


def _cutouts(products: VisitProducts, x: float, y: float) -> tuple[NDArray[np.float32], ...]:
    images = (products.science, products.template, products.difference)
    return tuple(image.cutout(x, y, CUTOUT_PIXELS).image for image in images)
