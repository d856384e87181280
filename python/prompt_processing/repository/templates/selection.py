"""Choose the images of visits that templates are made of."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.time import Time
from astropy.wcs.utils import proj_plane_pixel_scales
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    DatasetRef,
    MissingCollectionError,
    MissingDatasetTypeError,
)
from lsst.sphgeom import ConvexPolygon

from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.images import UNUSABLE, Exposure, SkyMap
from prompt_processing.images.photo_calib import NJY_ZERO_POINT

__all__ = ["Candidate", "Limits", "select_images"]

_LOG = logging.getLogger(__name__)

IMAGES = "preliminary_visit_image"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an image must be like.

    Attributes
    ----------
    visits
        Visits to choose from; all by default.
    nights
        First and last ``day_obs``, both included.
    before
        End of the latest exposure, TAI: before a transient that the templates must not contain.
    seeing
        Largest FWHM, arcsec.
    depth
        Least 5-sigma limiting magnitude.
    background
        Largest sky level, electrons per pixel. Images that do not state theirs are left out.
    """

    visits: tuple[int, ...] = ()
    nights: tuple[int, int] | None = None
    before: Time | None = None
    seeing: float = np.inf
    depth: float = -np.inf
    background: float = np.inf


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An image, and why it is left out.

    Attributes
    ----------
    ref
        The dataset.
    seeing
        FWHM, arcsec; NaN where unknown.
    depth
        5-sigma limiting magnitude; NaN where unknown.
    background
        Sky level, electrons per pixel; NaN where unknown.
    pixel_scale
        Arcsec per pixel.
    outline
        Outline on the sky.
    left_out
        Reason; empty for a chosen image.
    """

    ref: DatasetRef
    seeing: float
    depth: float
    background: float
    pixel_scale: float
    outline: ConvexPolygon | None
    left_out: str = ""

    @property
    def name(self) -> str:
        """Visit and detector."""
        return f"{self.ref.dataId['visit']}/{self.ref.dataId['detector']}"


def select_images(
    butler: Butler, instrument: str, limits: Limits, collections: Sequence[str] = ()
) -> list[Candidate]:
    """Find the images of visits, and measure those in the range of dates.

    Parameters
    ----------
    butler
        The repository.
    instrument
        Short name.
    limits
        What an image must be like.
    collections
        Collections of the images; by default all runs of ``<instrument>/prompt``. Of several images of one
        visit and detector, that of the last run by name is used.

    Returns
    -------
    candidates
        Images in the range of dates, chosen or left out, by visit and detector.

    Raises
    ------
    RepositoryProblemError
        Raised if there is no image in the range of dates.
    """
    where = collections or (f"{instrument}/prompt/*",)
    newest: dict[tuple[int, int], DatasetRef] = {}
    for ref in sorted(_images(butler, instrument, where), key=lambda ref: ref.run):
        record = ref.dataId.records["visit"]
        assert record is not None
        if limits.visits and ref.dataId["visit"] not in limits.visits:
            continue
        if limits.nights is not None and not limits.nights[0] <= record.day_obs <= limits.nights[1]:
            continue
        if limits.before is not None and not record.timespan.end <= limits.before:
            continue
        newest[int(ref.dataId["visit"]), int(ref.dataId["detector"])] = ref
    if not newest:
        raise RepositoryProblemError(
            f"There is no {IMAGES} of {instrument} in {', '.join(where)} with these dates: process visits "
            "first, or name other --collections."
        )
    missing = sorted(set(limits.visits) - {visit for visit, _ in newest})
    if missing:
        _LOG.warning("No image of the visits %s.", ", ".join(map(str, missing)))
    return [_measured(butler, newest[key], limits) for key in sorted(newest)]


def _images(butler: Butler, instrument: str, collections: Sequence[str]) -> list[DatasetRef]:
    try:
        runs = butler.collections.query(
            list(collections), collection_types={CollectionType.RUN}, flatten_chains=True
        )
        if not runs:
            return []
        return butler.query_datasets(
            IMAGES,
            collections=sorted(set(runs)),
            find_first=False,
            where="instrument = the_instrument",
            bind={"the_instrument": instrument},
            with_dimension_records=True,
            explain=False,
            limit=None,
        )
    except (MissingCollectionError, MissingDatasetTypeError):
        return []


def _measured(butler: Butler, ref: DatasetRef, limits: Limits) -> Candidate:
    exposure: Exposure = butler.get(ref, storageClass="ExposureF")
    stated = {str(name).lower(): value for name, value in exposure.metadata.items()}
    scale = float("nan")
    outline = None
    if exposure.wcs is not None:
        scale = float(np.mean(proj_plane_pixel_scales(exposure.wcs))) * 3600
        outline = SkyMap.footprint_region(exposure)

    def figure(name: str) -> float:
        value = stated.get(name)
        return float(value) if isinstance(value, int | float) else float("nan")

    seeing, depth = figure("seeing_fwhm_arcsec"), figure("limiting_magnitude_5sigma")
    background = figure("background_electrons")
    height, width = exposure.shape
    middle = (width - 1) / 2, (height - 1) / 2
    if np.isnan(seeing) and exposure.psf is not None:
        seeing = exposure.psf.fwhm_at(*middle) * scale
    if np.isnan(depth) and exposure.psf is not None and exposure.photo_calib is not None:
        depth = _depth(exposure, exposure.psf.effective_area_at(*middle), exposure.photo_calib.njy_per_unit)
    reasons = [
        (exposure.wcs is None, "no WCS"),
        (exposure.photo_calib is None, "no photometric calibration"),
        (np.isfinite(limits.seeing) and not seeing <= limits.seeing, f"seeing {seeing:.2f} arcsec"),
        (np.isfinite(limits.depth) and not depth >= limits.depth, f"depth {depth:.2f} mag"),
        (
            np.isfinite(limits.background) and not background <= limits.background,
            f"background {background:.0f} electrons",
        ),
    ]
    left_out = ", ".join(reason for holds, reason in reasons if holds)
    return Candidate(ref, seeing, depth, background, scale, outline, left_out)


def _depth(exposure: Exposure, area: float, njy_per_unit: float) -> float:
    """Return the 5-sigma limiting magnitude of a point source."""
    variance = exposure.variance[~exposure.has(UNUSABLE) & (exposure.variance > 0)]
    if not variance.size:
        return float("nan")
    noise = 5 * np.sqrt(float(np.median(variance)) * area) * njy_per_unit
    return float(NJY_ZERO_POINT - 2.5 * np.log10(noise))
