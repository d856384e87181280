"""Content of a new central repository."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.table import Table
from astropy.time import Time

from prompt_processing.images import Defects, Exposure, SkyMap

if TYPE_CHECKING:
    # The simulation needs the extra `demo`, which a service's repository does not.
    from prompt_processing.simulation.night import Night


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationProduct:
    """One calibration of one detector.

    Attributes
    ----------
    dataset_type
        ``bias``, ``dark``, ``flat`` or ``defects``.
    detector
        Detector id.
    product
        The calibration, or a file in the Butler's format.
    physical_filter
        Filter of a flat.
    begin, end
        Validity range, end excluded; `None` is unbounded.
    """

    dataset_type: str
    detector: int
    product: Exposure | Defects | Path
    physical_filter: str | None = None
    begin: Time | None = None
    end: Time | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """One patch of the templates.

    Attributes
    ----------
    tract, patch
        Indices in the repository's sky map.
    band
        Filter band.
    coadd
        Pixels in nJy, or a FITS file.
    """

    tract: int
    patch: int
    band: str
    coadd: Exposure | Path


@dataclass(frozen=True, slots=True, eq=False)
class RepositoryContent:
    """All inputs of the pipelines except the raws.

    Attributes
    ----------
    sky_map
        Tracts and patches of the templates.
    reference_stars : `~astropy.table.Table` or `None`
        Columns ``id``, ``ra``, ``dec`` (ICRS, degrees) and, for each band,
        ``<band>_flux`` and ``<band>_fluxErr`` (nJy).
    calibrations
        Consumed one at a time, so that a generator need not hold them all.
    templates
        Likewise.
    label
        Last part of the names of their collections.
    """

    sky_map: SkyMap | None = None
    reference_stars: Table | None = None
    calibrations: Iterable[CalibrationProduct] = field(default=())
    templates: Iterable[Template] = field(default=())
    label: str = "initial"


def simulated_content(night: Night) -> RepositoryContent:
    """Return the repository content of a simulated night.

    Parameters
    ----------
    night
        The night. Its calibrations are always valid.
    """
    return RepositoryContent(
        sky_map=night.sky_map,
        reference_stars=night.reference_stars,
        calibrations=[
            CalibrationProduct(one.dataset_type, one.detector, one.path, one.physical_filter)
            for one in night.calibrations
        ],
        templates=[Template(one.tract, one.patch, one.band, one.path) for one in night.templates],
        label="simulated",
    )
