"""Compare a central repository with what the workers expect, and suggest remedies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from astropy.time import Time
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionInfo,
    CollectionType,
    DatasetRef,
    DimensionUniverse,
    MissingCollectionError,
    MissingDatasetTypeError,
    Timespan,
)

from prompt_processing.butler.collections import Collections
from prompt_processing.butler.universe import universe_problems
from prompt_processing.instruments.camera import Camera, nominal_detectors

from .dataset_types import compare_dataset_types

_CERTIFIED = ("bias", "dark", "flat", "defects")


class Severity(StrEnum):
    """Severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    """Visits are processed, but not as well as they could be."""
    PROBLEM = "problem"
    """Visits fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes
    ----------
    severity
        Severity.
    subject
        What was checked.
    message
        What was found.
    remedy
        What to do; empty if there is nothing to do.
    """

    severity: Severity
    subject: str
    message: str
    remedy: str = ""


def check_repository(
    butler: Butler,
    camera: Camera,
    *,
    pipelines: Sequence[str] = (),
    sky_map: str | None = None,
    when: Time | None = None,
    type_names: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Check everything that an instrument's workers expect of their central repository.

    Parameters
    ----------
    butler
        The repository, which is only read.
    camera
        The instrument.
    pipelines
        Pipelines whose dataset types the repository must know.
    sky_map
        Name of the templates' sky map; any by default.
    when
        Time at which calibrations must be valid; now by default.
    type_names
        Names of dataset types in the repository, by their names in the pipelines, where they differ.

    Returns
    -------
    findings
        In the order in which to resolve them.
    """
    names = Collections(camera.name)
    findings = [_universe(butler), _instrument(butler, camera), _filters(butler, camera)]
    findings += _collections(butler, names)
    findings.append(_camera(butler, names))
    findings += _calibrations(butler, names, camera, Time.now() if when is None else when)
    findings += _sky(butler, names, sky_map)
    if pipelines:
        findings += _dataset_types(butler, pipelines, type_names or {})
    return findings


def _universe(butler: Butler) -> Finding:
    universe = butler.dimensions
    text = f"{universe.namespace} {universe.version}"
    problems = universe_problems(universe, DimensionUniverse())
    if problems:
        return Finding(Severity.PROBLEM, "dimension universe", f"{text}: {problems[0]}", problems[1])
    return Finding(Severity.OK, "dimension universe", text)


def _instrument(butler: Butler, camera: Camera) -> Finding:
    remedy = f"prompt repo make --add --instrument {camera.name} <repository>"
    records = butler.query_dimension_records("instrument", instrument=camera.name, explain=False)
    if not records:
        return Finding(Severity.PROBLEM, "instrument", f"{camera.name} is not known", remedy)
    known = {
        int(record.id): str(record.full_name)
        for record in butler.query_dimension_records(
            "detector", instrument=camera.name, explain=False, limit=None
        )
    }
    missing = sorted(set(camera.detectors) - set(known))
    if missing:
        return Finding(Severity.PROBLEM, "instrument", f"no detectors {_some(missing)}", remedy)
    other = [one for one in camera.detectors.values() if known[one.id] != one.name]
    if other:
        names = ", ".join(f"{one.id} {known[one.id]} (here {one.name})" for one in other[:3])
        return Finding(
            Severity.WARNING,
            "instrument",
            f"{len(other)} detectors have other names: {names}",
            "no action is needed",
        )
    return Finding(Severity.OK, "instrument", f"{camera.name} with {len(known)} detectors")


def _filters(butler: Butler, camera: Camera) -> Finding:
    known = {
        str(record.name): record.band
        for record in butler.query_dimension_records(
            "physical_filter", instrument=camera.name, explain=False, limit=None
        )
    }
    missing = sorted(set(camera.filters) - set(known))
    if missing:
        return Finding(
            Severity.WARNING,
            "filters",
            f"unknown: {_some(missing)}; visits in these filters fail",
            f"prompt repo make --add --instrument {camera.name} <repository>",
        )
    return Finding(Severity.OK, "filters", f"{len(known)}")


def _collections(butler: Butler, names: Collections) -> Iterator[Finding]:
    wanted = (
        (names.defaults, CollectionType.CHAINED),
        (names.calib, CollectionType.CHAINED),
        (names.unbounded_calib, CollectionType.RUN),
        (names.templates, CollectionType.CHAINED),
        (names.refcats, CollectionType.CHAINED),
        (names.skymaps, None),
        (names.raw, CollectionType.RUN),
    )
    there: dict[str, CollectionInfo] = {}
    for name, kind in wanted:
        try:
            info = butler.collections.get_info(name)
        except MissingCollectionError:
            what = "RUN" if kind is CollectionType.RUN else "CHAINED"
            # Workers keep raws in their own repositories.
            severity = Severity.WARNING if name == names.raw else Severity.PROBLEM
            yield Finding(
                severity, f"collection {name}", "is missing", _repair(names, f"makes it as a {what}")
            )
            continue
        there[name] = info
        if kind is not None and info.type is not kind:
            yield Finding(
                Severity.PROBLEM,
                f"collection {name}",
                f"is {info.type.name}, but must be {kind.name}",
                "move its content to a collection below it and remove it, then " + _repair(names, "makes it"),
            )
        else:
            yield Finding(Severity.OK, f"collection {name}", info.type.name)
    if names.defaults in there and there[names.defaults].type is CollectionType.CHAINED:
        members = there[names.defaults].children
        # The workers search these besides, and say above which are missing.
        besides = [name for name in names.inputs if name not in members and name in there]
        more = f"; also searched: {' '.join(besides)}" if besides else ""
        yield Finding(Severity.OK, f"chain {names.defaults}", " ".join(members) + more)


def _camera(butler: Butler, names: Collections) -> Finding:
    try:
        found = butler.query_datasets("camera", names.unbounded_calib, explain=False)
    except (MissingCollectionError, MissingDatasetTypeError):
        found = []
    ours = [ref for ref in found if ref.dataId["instrument"] == names.instrument]
    if not ours:
        return Finding(
            Severity.PROBLEM, "camera", f"is not in {names.unbounded_calib}", _repair(names, "puts it there")
        )
    try:
        stored = butler.get(ours[0])
    except Exception as error:  # noqa: BLE001
        # Formatters share no base class for errors.
        return Finding(
            Severity.PROBLEM,
            "camera",
            f"in {names.unbounded_calib} cannot be read: {type(error).__name__}: {error}",
            "export it again from its original repository, with prompt repo export",
        )
    nominal = nominal_detectors(stored) if isinstance(stored, Camera) else []
    if nominal:
        return Finding(
            Severity.WARNING,
            "camera",
            f"has nominal gains and read noise for {len(nominal)} of {len(stored.detectors)} detectors, "
            f"such as {_some([one.name for one in nominal[:3]])}: fluxes and variances are wrong by as "
            "much as the real amplifiers differ from them",
            "prompt repo export from a repository whose camera has measured values, then prompt repo import",
        )
    return Finding(Severity.OK, "camera", names.unbounded_calib)


def _calibrations(butler: Butler, names: Collections, camera: Camera, when: Time) -> Iterator[Finding]:
    science = {one.id for one in camera.detectors.values() if one.purpose == "SCIENCE"}
    moment = Timespan(when, when)
    for kind in _CERTIFIED:
        valid: set[int] = set()
        number = 0
        try:
            associations = butler.registry.queryDatasetAssociations(
                kind, [names.calib], collectionTypes={CollectionType.CALIBRATION}, flattenChains=True
            )
            for one in associations:
                if one.ref.dataId["instrument"] != names.instrument:
                    continue
                number += 1
                if one.timespan is None or one.timespan.overlaps(moment):
                    valid.add(int(one.ref.dataId["detector"]))
        except (MissingCollectionError, MissingDatasetTypeError):
            number = 0
        missing = sorted(science - valid)
        remedy = "prompt repo export visits from a repository that has them, then prompt repo import"
        if not missing:
            yield Finding(Severity.OK, kind, f"{number}, for all {len(science)} science detectors")
        elif valid:
            yield Finding(
                Severity.WARNING, kind, f"none valid at {when.utc.isot[:16]} for {_some(missing)}", remedy
            )
        else:
            yield Finding(
                Severity.WARNING,
                kind,
                f"none valid at {when.utc.isot[:16]}: no visit can be processed",
                remedy,
            )


def _sky(butler: Butler, names: Collections, sky_map: str | None) -> Iterator[Finding]:
    maps = {str(ref.dataId["skymap"]) for ref in _find(butler, "skyMap", names.skymaps)}
    remedy = "prompt repo export templates from a repository that has it, then prompt repo import"
    if sky_map is not None and sky_map not in maps:
        there = ", ".join(sorted(maps)) or "none"
        yield Finding(
            Severity.PROBLEM, "sky map", f"{sky_map} is not in {names.skymaps}, which has {there}", remedy
        )
    elif not maps:
        yield Finding(Severity.WARNING, "sky map", f"none in {names.skymaps}, hence no templates", remedy)
    else:
        yield Finding(Severity.OK, "sky map", ", ".join(sorted(maps)))
    templates = _find(butler, "template_coadd", names.templates)
    if templates:
        bands = sorted({str(ref.dataId["band"]) for ref in templates})
        yield Finding(Severity.OK, "templates", f"{len(templates)} patches in {', '.join(bands)}")
    else:
        yield Finding(
            Severity.WARNING,
            "templates",
            f"no template_coadd in {names.templates}: visits end after the calibration of their image",
            "prompt repo export templates, then prompt repo import",
        )
    shards = [ref for kind in _catalogues(butler) for ref in _find(butler, kind, names.refcats)]
    if shards:
        yield Finding(Severity.OK, "reference catalogues", f"{len(shards)} shards")
    else:
        yield Finding(
            Severity.WARNING,
            "reference catalogues",
            f"none in {names.refcats}: images cannot be calibrated",
            "prompt repo export visits, then prompt repo import",
        )


def _dataset_types(
    butler: Butler, pipelines: Sequence[str], type_names: Mapping[str, str]
) -> Iterator[Finding]:
    needed = compare_dataset_types(butler, pipelines, type_names)
    for name, other in needed.renamed.items():
        yield Finding(
            Severity.WARNING, f"dataset type {name}", str(other), "DATASET_TYPE_NAMES, for names of your own"
        )
    for name, difference in needed.unread.items():
        yield Finding(
            Severity.WARNING,
            f"dataset type {name}",
            f"{difference}: visits go without it",
            "DATASET_TYPE_NAMES, to read it under another name",
        )
    for name, difference in needed.differing.items():
        yield Finding(Severity.PROBLEM, f"dataset type {name}", difference, "see prompt repo dataset-types")
    if needed.missing:
        yield Finding(
            Severity.PROBLEM,
            "dataset types",
            f"not registered: {_some([one.name for one in needed.missing])}",
            "prompt repo dataset-types --register, or prompt initializer",
        )
    else:
        yield Finding(Severity.OK, "dataset types", f"{len(needed.present)}")


def _catalogues(butler: Butler) -> list[str]:
    return [one.name for one in butler.registry.queryDatasetTypes() if one.dimensions.skypix]


def _find(butler: Butler, kind: str, collection: str) -> Sequence[DatasetRef]:
    try:
        return butler.query_datasets(kind, collection, explain=False, limit=None)
    except (MissingCollectionError, MissingDatasetTypeError):
        return []


def _repair(names: Collections, what: str) -> str:
    return f"prompt repo make --add --instrument {names.instrument} <repository> {what}"


def _some(things: Iterable[object]) -> str:
    words = [str(thing) for thing in things]
    return ", ".join(words[:8]) + (f" and {len(words) - 8} more" if len(words) > 8 else "")
