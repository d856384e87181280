"""Select the content of an export of visits, templates or preloaded histories."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from astropy.time import Time, TimeDelta
from lsst.daf.butler import Butler, DimensionRecord, Timespan

from prompt_processing.butler.collections import Collections
from prompt_processing.instruments.camera import load_camera

from .export_selection import (
    Selection,
    add_calibrations,
    add_instrument_records,
    add_models,
    add_preloaded,
    add_raws,
    add_sky,
    add_sky_map,
)
from .sky_regions import circle, regions_of

__all__ = ["TemplateChoice", "VisitChoice", "select_preloaded", "select_templates", "select_visits"]


@dataclass(frozen=True, slots=True)
class VisitChoice:
    """Visits to export, and their inputs.

    Attributes
    ----------
    instrument
        Short name.
    collections
        Collections to search; by default ``<INSTRUMENT>/raw/all`` and ``<INSTRUMENT>/defaults``.
    where
        Butler expression that selects raws; empty for all.
    detectors
        Detector ids; `None` for all.
    n_exposures
        Maximum number of exposures, earliest first; `None` for all.
    with_raws
        Whether the raws themselves are exported.
    all_inputs
        Whether to export all calibrations, reference stars and pretrained models, and no raws.
    sky_map
        Name of the sky map; `None` for all.
    reference_catalogues
        Dataset types; all if empty.
    """

    instrument: str
    collections: Sequence[str] = ()
    where: str = ""
    detectors: Collection[int] | None = None
    n_exposures: int | None = None
    with_raws: bool = True
    all_inputs: bool = False
    sky_map: str | None = None
    reference_catalogues: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TemplateChoice:
    """Templates to export.

    Attributes
    ----------
    instrument
        Short name.
    collection
        Collection of the templates; ``<INSTRUMENT>/templates`` by default.
    sky_map_collection
        Collection of their sky map.
    dataset_types
        Dataset types of the templates.
    sky_map
        Name of the sky map; `None` for all.
    bands, tracts
        Bands and tracts to export; `None` for all.
    around
        Right ascension, declination and radius of a circle, degrees; `None` for the whole sky.
    """

    instrument: str
    collection: str | None = None
    sky_map_collection: str = "skymaps"
    dataset_types: Sequence[str] = ("template_coadd",)
    sky_map: str | None = None
    bands: Collection[str] | None = None
    tracts: Collection[int] | None = None
    around: tuple[float, float, float] | None = None


def select_visits(butler: Butler, choice: VisitChoice) -> Selection:
    """Select visits with all inputs of their processing except templates.

    Raises
    ------
    RepositoryProblemError
        Raised if the repository has no matching raw.
    """
    selection, raws = Selection(), Selection()
    name = choice.instrument
    collections = choice.collections or (f"{name}/raw/all", f"{name}/defaults")
    detectors = None if choice.detectors is None else set(choice.detectors)
    add_instrument_records(selection, butler, name)
    exposures: list[DimensionRecord] = []
    regions = filters = None
    if not choice.all_inputs:
        for one in collections:
            if not exposures:
                exposures = add_raws(raws, butler, name, one, choice.where, detectors, choice.n_exposures)
        regions = regions_of(exposures, load_camera(name), detectors)
        filters = {str(record.physical_filter) for record in exposures}
    for one in collections:
        add_calibrations(
            selection, butler, name, one, detectors=detectors, filters=filters, timespan=_span(exposures)
        )
        add_sky(
            selection,
            butler,
            one,
            regions,
            chain=Collections(name).refcats,
            dataset_types=choice.reference_catalogues,
            shards=True,
        )
        add_sky_map(selection, butler, one, choice.sky_map)
        if choice.all_inputs:
            add_models(selection, butler, name, one)
    if choice.with_raws:
        selection.refs |= raws.refs
        selection.records |= raws.records
    return selection


def select_templates(butler: Butler, choice: TemplateChoice) -> Selection:
    """Select templates and their sky map."""
    selection = Selection()
    target = Collections(choice.instrument)
    add_sky(
        selection,
        butler,
        choice.collection or target.templates,
        [circle(*choice.around)] if choice.around else None,
        chain=target.templates,
        dataset_types=list(choice.dataset_types),
        accept=lambda ref: (
            (choice.sky_map is None or ref.dataId["skymap"] == choice.sky_map)
            and (choice.bands is None or ref.dataId.get("band") in choice.bands)
            and (choice.tracts is None or ref.dataId.get("tract") in choice.tracts)
        ),
    )
    if selection.refs:
        add_sky_map(selection, butler, choice.sky_map_collection, choice.sky_map)
    return selection


def select_preloaded(butler: Butler, instrument: str, where: str) -> Selection:
    """Select the data preloaded for the visits that a Butler expression selects."""
    selection = Selection()
    add_instrument_records(selection, butler, instrument)
    add_preloaded(selection, butler, instrument, where)
    return selection


def _span(exposures: Sequence[DimensionRecord]) -> Timespan | None:
    times: list[Time] = []
    for record in exposures:
        if record.timespan is not None:
            times += [time for time in (record.timespan.begin, record.timespan.end) if time is not None]
    if not times:
        return None
    # Calibrations that are valid only within a second of the night's exposures are exported too.
    second = TimeDelta(1.0, format="sec")
    return Timespan(min(times) - second, max(times) + second)
