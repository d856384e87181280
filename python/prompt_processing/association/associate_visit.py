"""Associate a visit-detector's DiaSources and compute its rows of the APDB, without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from astropy.table import Table
from astropy.time import Time

from prompt_processing.alerts.packets import AlertContent
from prompt_processing.apdb.tables import ApdbSchemas
from prompt_processing.images import Exposure, VisitInfo

from .dia_object_summary import summarize_dia_objects
from .forced_photometry import measure_forced_sources
from .matching import associate_dia_sources
from .solar_system import associate_solar_system


@dataclass(frozen=True, slots=True)
class PreloadedCatalogs:
    """Catalogues of the field from before the visit.

    Attributes
    ----------
    objects, sources, forced_sources : `~pandas.DataFrame`
        DiaObjects of the region, and their history.
    ephemerides : `~astropy.table.Table`
        Minor planets that may be in the region.
    """

    objects: pd.DataFrame
    sources: pd.DataFrame
    forced_sources: pd.DataFrame
    ephemerides: Table


@dataclass(frozen=True, slots=True)
class AssociatedVisit:
    """Rows that a visit-detector adds to the APDB, and the content of its alerts.

    Attributes
    ----------
    objects, sources, forced_sources : `~pandas.DataFrame`
        Rows for the APDB: new versions of the DiaObjects with a new source,
        all DiaSources, and a DiaForcedSource for each DiaObject on the image.
    ss_sources : `~pandas.DataFrame`
        Rows of the alerts' ``ssSource``.
    orbits
        Orbital elements of the matched minor planets by ``ssObjectId``.
    history, forced_history : `~pandas.DataFrame`
        Earlier DiaSources and DiaForcedSources of the objects in ``objects``.
    n_new_objects, n_updated_objects, n_ss_expected
        Number of new DiaObjects, of known DiaObjects with a new source, and of known minor planets predicted
        on the image.
    """

    objects: pd.DataFrame
    sources: pd.DataFrame
    forced_sources: pd.DataFrame
    ss_sources: pd.DataFrame
    orbits: dict[int, dict[str, Any]]
    history: pd.DataFrame
    forced_history: pd.DataFrame
    n_new_objects: int
    n_updated_objects: int
    n_ss_expected: int

    def alert_content(
        self,
        observation_reason: str | None = None,
        target_name: str | None = None,
        minimum_reliability: float = 0.0,
    ) -> AlertContent:
        """Return the content of the alerts.

        Parameters
        ----------
        observation_reason, target_name
            Scheduler's values, from the raw's header.
        minimum_reliability
            Sources with a lower score have no alert; sources without a score do.
        """
        reliability = self.sources["reliability"].to_numpy(np.float64, na_value=np.nan)
        forced = [frame for frame in (self.forced_history, self.forced_sources) if not frame.empty]
        return AlertContent(
            self.sources[~(reliability < minimum_reliability)],
            self.objects,
            self.history,
            # This visit's own flux is the last point of the light curve.
            pd.concat(forced, ignore_index=True) if forced else self.forced_history,
            self.ss_sources,
            self.orbits,
            observation_reason,
            target_name,
        )


def associate_visit(
    sources: pd.DataFrame,
    preloaded: PreloadedCatalogs,
    difference: Exposure,
    science: Exposure,
    visit_info: VisitInfo,
    schemas: ApdbSchemas,
    processed: Time,
    *,
    object_radius: float = 1.0,
    solar_system_radius: float = 2.0,
    forced_photometry: bool = True,
) -> AssociatedVisit:
    """Associate DiaSources, measure forced fluxes and update the DiaObjects.

    Minor planets are matched first: a DiaSource at a predicted position belongs to
    no DiaObject. The others are assigned to the likeliest DiaObject within the radius or start a new one.
    Forced fluxes are measured at every DiaObject on the image, known or new.
    Only DiaObjects with a DiaSource in this visit get a new version, which
    includes the forced fluxes.

    Parameters
    ----------
    sources : `~pandas.DataFrame`
        Standardised DiaSources.
    preloaded
        Catalogues from before the visit.
    difference, science
        Images in nJy, on the same pixels, each with a PSF; the difference also with a WCS.
    visit_info
        Identity, time and filter of the visit.
    schemas
        Schemas of the APDB to write to.
    processed
        Time of this computation.
    object_radius, solar_system_radius
        Largest distances for a match, arcsec.
    forced_photometry
        Whether to measure forced fluxes.

    Returns
    -------
    associated : `AssociatedVisit`

    Raises
    ------
    ValueError
        Raised if the difference has no WCS or an image no PSF.
    """
    if difference.wcs is None:
        raise ValueError("Association needs a difference image with a WCS.")
    solar_system = associate_solar_system(
        sources,
        preloaded.ephemerides,
        visit_info.mid_mjd_tai,
        difference.wcs,
        difference.shape,
        solar_system_radius,
    )
    association = associate_dia_sources(solar_system.sources, preloaded.objects, object_radius)
    known = preloaded.objects[preloaded.objects["diaObjectId"].isin(association.known_objects)]
    begun = association.sources["diaObjectId"].isin(association.new_objects).to_numpy(bool)
    new = association.sources.loc[begun, ["diaObjectId", "ra", "dec"]]

    positions = _stack([preloaded.objects[["diaObjectId", "ra", "dec"]], new])
    forced = (
        measure_forced_sources(
            positions, difference, science, visit_info, schemas.dia_forced_source, processed
        )
        if forced_photometry
        else schemas.dia_forced_source.empty()
    )
    updated_ids = np.concatenate([association.known_objects, association.new_objects])
    history = _of_objects(preloaded.sources, updated_ids)
    forced_history = _of_objects(preloaded.forced_sources, updated_ids)
    objects = summarize_dia_objects(
        _stack([known, new[["diaObjectId"]]]),
        _stack([history, association.sources]),
        _stack([forced_history, forced]),
        association.sources["diaObjectId"].value_counts(),
        schemas.dia_object,
        processed,
    )
    return AssociatedVisit(
        objects,
        schemas.dia_source.conform(association.sources),
        forced,
        solar_system.ss_sources,
        solar_system.orbits,
        history,
        forced_history,
        len(association.new_objects),
        len(association.known_objects),
        solar_system.n_expected,
    )


def _of_objects(frame: pd.DataFrame, ids: np.ndarray) -> pd.DataFrame:
    chosen = frame[frame["diaObjectId"].isin(ids)]
    if "timeWithdrawnMjdTai" in chosen:
        # Withdrawn measurements stay in the APDB, but are no longer part of the history.
        chosen = chosen[chosen["timeWithdrawnMjdTai"].isna()]
    return chosen.reset_index(drop=True)


def _stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    # An empty frame would still affect the types of the result.
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    return pd.concat(filled, ignore_index=True)
