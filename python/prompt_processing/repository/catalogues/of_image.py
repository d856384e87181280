"""Make reference stars of one raw image, where neither a catalogue nor templates exist.

Other images of the field are then calibrated relative to it. Their positions are as good as that of the
image, and their fluxes as the zero point.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from astropy.table import Table
from lsst.daf.butler import Butler, MissingCollectionError, MissingDatasetTypeError, Timespan

from prompt_processing.images.photo_calib import NJY_ZERO_POINT
from prompt_processing.imaging.templates.stars import template_stars
from prompt_processing.instruments import (
    Camera,
    Observation,
    RawError,
    detector_wcs,
    read_detector_headers,
    read_raw,
    translate,
)
from prompt_processing.tasks.isr import IsrTask

from .errors import CatalogueError
from .of_templates import joined_by_position

__all__ = ["calibrations_of", "stars_of_image"]

_LOG = logging.getLogger(__name__)

_KINDS = ("bias", "dark", "flat", "defects")

Calibrations = Callable[[Observation], Mapping[str, Any]]


def stars_of_image(
    path: Path,
    camera: Camera,
    calibrations: Calibrations,
    position: tuple[float, float] | None = None,
    zero_point: float = 25.0,
) -> Table:
    """Measure the stars of a raw image.

    Parameters
    ----------
    path
        A raw, of one detector or of several.
    camera
        Its camera.
    calibrations
        Returns the calibrations of a detector's observation, by their names in `IsrTask.run`.
    position
        Right ascension and declination of the boresight, ICRS degrees; by default those of the header.
    zero_point
        AB magnitude of one electron per second.

    Returns
    -------
    stars
        As of `.of_templates.stars_of_templates`.

    Raises
    ------
    CatalogueError
        Raised if the file is not a science image of the camera, or has no position or no stars.
    """
    measured = []
    try:
        headers = read_detector_headers(path)
        for detector in headers:
            raw = read_raw(path, instrument=camera.name, detector=detector)
            observation = translate(headers[detector], str(path))
            place = position or _position(observation, path)
            image = IsrTask().run(raw, camera, **calibrations(observation)).image
            wcs = detector_wcs(camera, camera.detector(detector), *place, observation.rotation or 0.0)
            scale = 10 ** (0.4 * (NJY_ZERO_POINT - zero_point)) / observation.exposure_time
            found = template_stars(replace(image, wcs=wcs))
            for name in ("flux", "fluxErr"):
                found[name] *= scale
            _LOG.info("%d stars on detector %d of %s.", len(found), detector, path)
            measured.append(found)
    except RawError as error:
        raise CatalogueError(str(error)) from error
    if not any(len(table) for table in measured):
        raise CatalogueError(f"{path} has no stars.")
    return joined_by_position({observation.band: measured})


def _position(observation: Observation, path: Path) -> tuple[float, float]:
    if observation.observation_type != "science":
        raise CatalogueError(f"{path} is a {observation.observation_type} frame.")
    if observation.ra is None or observation.dec is None:
        raise CatalogueError(f"{path} has no position: name it with --position.")
    return observation.ra, observation.dec


def calibrations_of(butler: Butler, collections: str, observation: Observation) -> dict[str, Any]:
    """Return the calibrations of a repository that are valid for an observation; none where there are none.

    Parameters
    ----------
    butler
        The repository.
    collections
        Collection of the calibrations.
    observation
        What was observed.
    """
    where: dict[str, Any] = {"instrument": observation.instrument, "detector": observation.detector}
    found = {}
    for kind in _KINDS:
        more = {"physical_filter": observation.physical_filter} if kind == "flat" else {}
        try:
            ref = butler.find_dataset(
                kind,
                where | more,
                collections=collections,
                timespan=Timespan(observation.begin, observation.end),
            )
        except (MissingCollectionError, MissingDatasetTypeError):
            ref = None
        if ref is None:
            _LOG.warning("%s has no %s of detector %d.", collections, kind, observation.detector)
        else:
            # Whatever form the repository's types have.
            found[kind] = butler.get(ref, storageClass="Defects" if kind == "defects" else "ExposureF")
    return found
