"""Collect the outputs of the demo's night from the APDB, the central repository and the alert stream."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.time import Time
from lsst.daf.butler import Butler, DatasetRef, MissingCollectionError, MissingDatasetTypeError
from lsst.dax.apdb import Apdb
from lsst.sphgeom import Angle, Circle, LonLat, UnitVector3d

from prompt_processing.butler.formatters import read_image
from prompt_processing.butler.opening import open_repository
from prompt_processing.butler.types import use_butler_types
from prompt_processing.imaging.measurement.dia_detection import DetectionOptions
from prompt_processing.instruments import RawKey
from prompt_processing.simulation import load_truth

from .alerts import AlertSummary, read_alerts
from .discrepancies import Discrepancy, VisitProducts, explain
from .outcomes import VisitOutcome
from .score import StarScore, TransientScore, score_stars, score_transients
from .world import World

__all__ = [
    "DetectorVisit",
    "NightResult",
    "collect",
    "count_datasets",
    "explain_discrepancies",
    "find_datasets",
    "start_query",
]

_PRODUCTS = {
    "science": "preliminary_visit_image",
    "template": "template_detector",
    "difference": "difference_image",
    "detected": "dia_source_unfiltered",
    "rejected": "rejected_dia_source",
}
_IMAGES = frozenset({"science", "template", "difference"})
"""Dataset types behind `VisitProducts`."""


@dataclass(slots=True, eq=False)
class DetectorVisit:
    """One visit of one detector: its truth, its outputs and its scores.

    Attributes
    ----------
    number : `int`
        Of the visit, from 1, in order of time.
    group : `str`
        Of the visit.
    visit, detector : `int`
        Ids.
    detector_name : `str`
        As in the camera.
    announced, arrived : `float`
        When it was announced, and when its last raw had been uploaded, Unix seconds, UTC.
    outcome : `VisitOutcome` or `None`
        Its outcome; None if the worker reported none.
    truth : `~pandas.DataFrame`
        The simulated sources on its last raw.
    dia_sources : `~pandas.DataFrame`
        Its DiaSources in the APDB.
    transients, stars
        Scores.
    alerts : `list` [`AlertSummary`]
        Its alerts as they were read back.
    discrepancies : `list` [`Discrepancy`]
        Missed and spurious sources; `explain_discrepancies` fills it.
    """

    number: int
    group: str
    visit: int
    detector: int
    detector_name: str
    announced: float
    arrived: float
    outcome: VisitOutcome | None
    truth: pd.DataFrame
    dia_sources: pd.DataFrame
    transients: TransientScore
    stars: StarScore
    alerts: list[AlertSummary] = field(default_factory=list)
    discrepancies: list[Discrepancy] = field(default_factory=list)

    @property
    def arrival_to_alert(self) -> float | None:
        """Seconds from the end of the upload to the last alert.

        Counted from the activator's own time of arrival where that is earlier.
        """
        if self.outcome is None or (last := self.outcome.details.get("last_alert")) is None:
            return None
        own = self.outcome.details.get("image_arrival")
        return float(last) - min(self.arrived, self.arrived if own is None else float(own))


@dataclass(slots=True, eq=False)
class NightResult:
    """All visits of a night.

    Attributes
    ----------
    visits : `list` [`DetectorVisit`]
        In order of time, then by detector.
    n_dia_objects : `int`
        DiaObjects in the APDB.
    pixel_scale : `float`
        Of the camera, arcsec per pixel.
    dataset_counts : mapping
        Datasets in the central repository by type, as ``butler query-datasets`` lists them; filled last.
    """

    visits: list[DetectorVisit]
    n_dia_objects: int
    pixel_scale: float
    dataset_counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def injected(self) -> pd.DataFrame:
        """All sources that had changed and should have been found."""
        return pd.concat([visit.transients.expected for visit in self.visits], ignore_index=True)

    @property
    def discrepancies(self) -> list[tuple[DetectorVisit, Discrepancy]]:
        """All missed and spurious sources, by visit."""
        return [(visit, one) for visit in self.visits for one in visit.discrepancies]


def collect(world: World, outcomes: Sequence[VisitOutcome]) -> NightResult:
    """Collect the night's outputs and compare them with the simulated sources.

    Parameters
    ----------
    world : `World`
        Where the central repository, the APDB and the alerts are.
    outcomes : sequence of `VisitOutcome`
        From the workers' logs.
    """
    use_butler_types()
    uploads = pd.DataFrame([json.loads(line) for line in world.folders.manifest.read_text().splitlines()])
    alerts: dict[tuple[int, int], list[AlertSummary]] = {}
    registry = world.environment.get("KAFKA_SCHEMA_REGISTRY_URL")
    for alert in read_alerts(world.folders.alerts, registry):
        alerts.setdefault((alert.visit, alert.detector), []).append(alert)
    with open_repository(world.central_repository) as butler:
        camera = _get(butler, "camera", world.environment["RUBIN_INSTRUMENT"])
        visits = []
        groups = list(dict.fromkeys(uploads["group"]))
        last_raws = uploads.sort_values("exposure").groupby(["group", "detector"], as_index=False).last()
        truths = [_read_truth(world, str(source)) for source in last_raws["source"]]
        sources, n_objects = _read_apdb(world, truths)
        for (_, last), truth in zip(last_raws.iterrows(), truths, strict=True):
            group, detector = str(last["group"]), int(last["detector"])
            visit = int(uploads.loc[uploads["group"] == group, "exposure"].min())
            of_visit = sources[(sources["visit"] == visit) & (sources["detector"] == detector)]
            visits.append(
                DetectorVisit(
                    number=groups.index(group) + 1,
                    group=group,
                    visit=visit,
                    detector=detector,
                    detector_name=camera.detector(detector).name,
                    announced=float(last["announced"]),
                    arrived=float(last["arrived"]),
                    outcome=_outcome_of(outcomes, group, detector),
                    truth=truth,
                    dia_sources=of_visit,
                    transients=score_transients(truth, of_visit, float(truth.attrs["fwhm_arcsec"])),
                    stars=score_stars(truth, _stars(butler, world, visit, detector)),
                    alerts=alerts.get((visit, detector), []),
                )
            )
    visits.sort(key=lambda one: (one.number, one.detector))
    return NightResult(visits, n_objects, camera.pixel_scale_arcsec)


def explain_discrepancies(result: NightResult, world: World) -> None:
    """Find the reason for each missed and spurious source of a night.

    Parameters
    ----------
    result : `NightResult`
        The ``discrepancies`` of its visits are filled.
    world : `World`
        Where the central repository is.
    """
    with open_repository(world.central_repository) as butler:
        refs = {name: find_datasets(butler, world, type_) for name, type_ in _PRODUCTS.items()}
        for visit in result.visits:
            score = visit.transients
            if score.missed.empty and score.spurious.empty:
                continue
            key = visit.visit, visit.detector
            # One visit's images at a time: a detector has a few hundred megabytes of them.
            of_visit = {name: found[key] for name, found in refs.items() if key in found}
            products = None
            if len(of_visit) == len(_PRODUCTS):
                products = VisitProducts(
                    **{
                        name: read_image(butler, ref) if name in _IMAGES else butler.get(ref)
                        for name, ref in of_visit.items()
                    },
                    threshold=DetectionOptions().threshold,
                )
            visit.discrepancies = explain(visit.truth, visit.dia_sources, score, products)


def find_datasets(butler: Butler, world: World, dataset_type: str) -> dict[tuple[int, int], DatasetRef]:
    """Return tonight's datasets of a type by visit and detector; empty if the type is unknown."""
    try:
        refs = butler.query_datasets(
            dataset_type, world.output_collection(), find_first=False, limit=None, explain=False
        )
    except (MissingCollectionError, MissingDatasetTypeError):
        return {}
    return {(int(ref.dataId["visit"]), int(ref.dataId["detector"])): ref for ref in refs}


def start_query(world: World) -> subprocess.Popen[str]:
    """Start ``butler query-datasets`` for tonight's outputs; the command takes seconds to start."""
    command = [str(Path(sys.executable).with_name("butler")), "query-datasets", world.central_repository]
    command += ["--collections", world.output_collection(), "--limit", "0", "*"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def count_datasets(world: World, query: subprocess.Popen[str]) -> dict[str, int]:
    """Wait for the command, save its list and count the datasets by type."""
    listed, _ = query.communicate(timeout=120)
    (world.folders.output / "datasets.txt").write_text(listed)
    counts: dict[str, int] = {}
    for line in listed.splitlines():
        words = line.split()
        if len(words) > 2 and words[1].startswith(world.output_collection()):
            counts[words[0]] = counts.get(words[0], 0) + 1
    return counts


def _outcome_of(outcomes: Sequence[VisitOutcome], group: str, detector: int) -> VisitOutcome | None:
    # The last one counts: a visit may have been sent again after a passing failure.
    found = [one for one in outcomes if (one.group, one.detector) == (group, detector)]
    return found[-1] if found else None


def _get(butler: Butler, dataset_type: str, instrument: str) -> Any:
    return butler.get(dataset_type, instrument=instrument, collections=f"{instrument}/calib/unbounded")


def _stars(butler: Butler, world: World, visit: int, detector: int) -> pd.DataFrame:
    empty = pd.DataFrame(
        {name: pd.Series(dtype=float) for name in ("ra", "dec", "psfFlux", "snr", "extendedness")}
    )
    ref = find_datasets(butler, world, "single_visit_star").get((visit, detector))
    if ref is None:
        return empty
    stars: pd.DataFrame = butler.get(ref).to_pandas()
    return stars


def _read_apdb(world: World, truths: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, int]:
    """Return all DiaSources and the number of DiaObjects around the images, read with ``lsst-dax-apdb``."""
    apdb = Apdb.from_uri(world.environment["CONFIG_APDB"])
    objects: set[int] = set()
    sources = []
    for truth in truths:
        region = _circle_around(truth)
        objects.update(int(one) for one in apdb.getDiaObjects(region)["diaObjectId"])
        if (found := apdb.getDiaSources(region, None, Time.now())) is not None:
            sources.append(found)
    return pd.concat(sources, ignore_index=True).drop_duplicates("diaSourceId"), len(objects)


def _circle_around(truth: pd.DataFrame) -> Circle:
    vectors = [
        UnitVector3d(LonLat.fromDegrees(ra, dec)) for ra, dec in zip(truth["ra"], truth["dec"], strict=True)
    ]
    middle = np.mean([[v.x(), v.y(), v.z()] for v in vectors], axis=0)
    centre = UnitVector3d(*middle)
    far = max(np.arccos(np.clip(centre.dot(vector), -1, 1)) for vector in vectors)
    return Circle(centre, Angle(float(far)))


def _read_truth(world: World, source: str) -> pd.DataFrame:
    key = RawKey.parse(source)
    if key is None:
        raise ValueError(f"{source} is not the key of a raw.")
    table = load_truth(world.folders.night / "unobserved" / key.key)
    truth: pd.DataFrame = table.to_pandas()
    truth.attrs["fwhm_arcsec"] = table.meta["exposure"]["fwhm_arcsec"]
    return truth
