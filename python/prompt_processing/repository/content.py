"""What a new central repository is filled with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.table import Table
from astropy.time import Time

from prompt_processing.images import Defects, Exposure, SkyMap

if TYPE_CHECKING:
    # It needs the extra `demo`, which a service's repository does not.
    from prompt_processing.simulation.night import Night


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationProduct:
    """One calibration of one detector.

    Attributes
    ----------
    dataset_type : `str`
        ``bias``, ``dark``, ``flat`` or ``defects``.
    detector : `int`
        Detector id.
    product : `Exposure`, `Defects` or `~pathlib.Path`
        The calibration, or a file in the form that the Butler keeps it in.
    physical_filter : `str` or `None`
        For flats.
    begin, end : `~astropy.time.Time` or `None`
        Validity, the end excluded; `None` is unbounded.
    """

    dataset_type: str
    detector: int
    product: Exposure | Defects | Path
    physical_filter: str | None = None
    begin: Time | None = None
    end: Time | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """One patch of the template sky.

    Attributes
    ----------
    tract, patch : `int`
        Of the repository's sky map.
    band : `str`
        Filter band.
    coadd : `Exposure` or `~pathlib.Path`
        Pixels in nJy, or a FITS file of them.
    """

    tract: int
    patch: int
    band: str
    coadd: Exposure | Path


@dataclass(frozen=True, slots=True, eq=False)
class RepositoryContent:
    """All inputs of the pipelines but the raws.

    Attributes
    ----------
    sky_map : `SkyMap` or `None`
        Tracts and patches of the templates.
    reference_stars : `~astropy.table.Table` or `None`
        Columns ``id``, ``ra``, ``dec`` (ICRS, degrees) and, for each band,
        ``<band>_flux`` and ``<band>_fluxErr`` (nJy).
    calibrations : iterable of `CalibrationProduct`
        Taken one at a time, so that a generator need not hold them all.
    templates : iterable of `Template`
        Likewise.
    label : `str`
        Last part of the names of the collections that are made for them.
    """

    sky_map: SkyMap | None = None
    reference_stars: Table | None = None
    calibrations: Iterable[CalibrationProduct] = field(default=())
    templates: Iterable[Template] = field(default=())
    label: str = "initial"


def simulated_content(night: Night) -> RepositoryContent:
    """Return what a simulated night brings for its repository.

    Parameters
    ----------
    night : `~prompt_processing.simulation.night.Night`
        The night. Its calibrations are valid always.
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
