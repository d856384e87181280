"""The pictures of a visit's image on its way from the raw to the sky: signature removal and astrometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Mask
from prompt_processing.imaging.calibration.calibrate import Calibration, calibrate_image
from prompt_processing.imaging.calibration.star_matching import match_nearest
from prompt_processing.imaging.isr.isr import run_isr
from prompt_processing.instruments import detector_centre, detector_wcs, load_camera
from prompt_processing.instruments.raw_frame import RawFrame
from prompt_processing.simulation.calibrations import calibration_products, measured_camera
from prompt_processing.simulation.planning import plan_visits
from prompt_processing.simulation.raw_image import simulate_raw
from prompt_processing.simulation.reference import reference_stars
from prompt_processing.simulation.sensor import Sensor
from prompt_processing.simulation.sky import SkyCatalogue, SkyDensity

SEED, DETECTOR = 5, 94
POINTING_ERROR = (5.0, -4.0)
"""Arcsec."""

COLOURS = {Mask.SAT: (1.0, 0.3, 0.2), Mask.BAD: (0.2, 0.5, 1.0), Mask.CR: (0.2, 0.8, 0.3)}


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """A simulated raw of a small detector, and what becomes of it.

    Attributes
    ----------
    raw : `RawFrame`
    image : `Exposure`
        Electrons, without signature; its WCS is the prediction.
    reference : `~astropy.table.Table`
        Stars of the catalogue.
    calibration : `Calibration`
    """

    raw: RawFrame
    image: Exposure
    reference: Table
    calibration: Calibration


def make_visit() -> Visit:
    """Simulate and process the raw."""
    camera = load_camera("LSSTCam").miniature(125, 500)
    detector = camera.detector(DETECTOR)
    planned = plan_visits(camera, 1, SEED)[0]
    sky = SkyCatalogue(SEED, SkyDensity(stars=25.0), epoch_mjd=planned.mid_mjd_tai)
    sensor = Sensor.make(detector, SEED)
    raw = simulate_raw(sky, camera, sensor, planned, SEED).frame
    products = calibration_products(sensor, {planned.physical_filter: planned.band}, SEED)
    measured = measured_camera(camera, SEED).detector(DETECTOR)
    flat = next(iter(products.flats.values()))
    image = run_isr(raw, measured, products.bias, products.dark, flat, products.defects)
    # An error that can be seen, beside the small one of the simulated telescope.
    ra, dec = planned.ra + POINTING_ERROR[0] / 3600, planned.dec + POINTING_ERROR[1] / 3600
    predicted = detector_wcs(camera, detector, ra, dec, planned.rotation)
    centre = detector_centre(camera, detector, planned.ra, planned.dec, planned.rotation)
    reference = reference_stars(sky, *centre, 0.06, SEED)
    image.wcs = predicted
    return Visit(raw, image, reference, calibrate_image([image], reference, planned.band, predicted))


def assembled(raw: RawFrame) -> NDArray[np.float32]:
    """Put the raw's segments where they belong, with nothing done to them."""
    out = np.zeros(raw.shape, np.float32)
    for segment in raw.segments:
        out[segment.target] = segment.oriented(segment.data[segment.data_section])
    return out


def draw_isr(visit: Visit) -> Figure:
    """Draw the raw counts, the electrons, a row of both, and the flagged pixels."""
    counts, image = assembled(visit.raw), visit.image
    figure = Figure(figsize=(11, 3.1), layout="constrained")
    axes = figure.subplots(1, 4)
    for place, values, title in (
        (axes[0], counts, "raw, counts"),
        (axes[1], image.image, "electrons, signature removed"),
    ):
        low, high = np.percentile(values, [1, 98])
        place.imshow(values[::2, ::2], origin="lower", cmap="gray", vmin=low, vmax=high)
        place.set_title(title, fontsize=8)
    row = counts.shape[0] // 4
    strip = np.s_[row : row + 40]
    for values, label in ((counts, "raw"), (image.image, "electrons")):
        profile = np.median(values[strip], axis=0)
        axes[2].plot(profile / np.median(profile), lw=0.6, label=label)
    axes[2].legend(fontsize=7)
    axes[2].set_ylim(0.75, 1.15)
    axes[2].set_title("median of 40 rows, over its middle", fontsize=8)
    rows, columns = marked_part(image)
    grey = np.clip((image.image[rows, columns] - np.percentile(image.image, 5)) / 400, 0, 1)
    coloured = np.stack([grey] * 3, axis=-1)
    for plane, colour in COLOURS.items():
        coloured[image.has(plane)[rows, columns]] = colour
    axes[3].imshow(coloured, origin="lower")
    axes[3].set_title("flagged: saturated, bad, cosmic rays", fontsize=8)
    for place in (axes[0], axes[1], axes[3]):
        place.set_xticks([])
        place.set_yticks([])
    return figure


def marked_part(image: Exposure, size: int = 220) -> tuple[slice, slice]:
    """Return the square with most kinds of flagged pixels."""
    best, place = -1.0, (0, 0)
    for top in range(0, image.shape[0] - size, size // 2):
        for left in range(0, image.shape[1] - size, size // 2):
            part = image.mask[top : top + size, left : left + size]
            score = sum(min(float(np.count_nonzero(part & int(p))), 60.0) for p in COLOURS)
            if score > best:
                best, place = score, (top, left)
    return slice(place[0], place[0] + size), slice(place[1], place[1] + size)


def draw_astrometry(visit: Visit) -> Figure:
    """Draw catalogue and image before, the vote for the shift, and the residuals after."""
    predicted, solved = visit.image.wcs, visit.calibration.exposure.wcs
    assert predicted is not None
    assert solved is not None
    stars = visit.calibration.stars
    stars = stars[np.asarray(stars["snr"]) > 20]
    x, y = np.asarray(stars["x"], float), np.asarray(stars["y"], float)
    ra, dec = np.asarray(visit.reference["ra"], float), np.asarray(visit.reference["dec"], float)
    before = np.column_stack(predicted.all_world2pix(ra, dec, 0))
    after = np.column_stack(solved.all_world2pix(ra, dec, 0))
    height, width = visit.image.shape
    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    part = np.s_[300:700, 300:700]
    image = visit.calibration.exposure.image[part]
    low, high = np.percentile(image, [10, 99])
    axes[0].imshow(image, origin="lower", cmap="gray_r", vmin=low, vmax=high, extent=(300, 700, 300, 700))
    for places, colour, label in ((before, "tab:red", "predicted"), (after, "tab:green", "solved")):
        inside = np.all((places > 300) & (places < 700), axis=1)
        axes[0].scatter(
            *places[inside].T, s=30, facecolors="none", edgecolors=colour, linewidths=0.8, label=label
        )
    axes[0].legend(fontsize=7, loc="upper right")
    axes[0].set_title("reference stars on the image", fontsize=8)
    differences = (np.column_stack([x, y])[:, None] - before[None]).reshape(-1, 2)
    near = differences[np.all(np.abs(differences) < 100, axis=1)]
    axes[1].hist2d(near[:, 0], near[:, 1], bins=66, cmap="magma")
    axes[1].set_title("all differences, pixels: the true ones heap up", fontsize=8)
    source, partner = match_nearest(np.column_stack([x, y]), after, 2.0)
    off = np.column_stack([x, y])[source] - after[partner]
    arrows = axes[2].quiver(
        x[source], y[source], off[:, 0], off[:, 1], np.hypot(*off.T) * 200, cmap="viridis"
    )
    figure.colorbar(arrows, ax=axes[2], label="mas")
    axes[2].set_xlim(0, width)
    axes[2].set_ylim(0, height)
    axes[2].set_aspect("equal")
    rms = float(np.sqrt(np.mean(off**2))) * 200
    axes[2].set_title(f"what is left, S/N > 20: {rms:.0f} mas", fontsize=8)
    return figure
