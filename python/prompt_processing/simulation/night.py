"""Simulate a night and its inputs in one folder.

Layout of the folder::

    night.json                              index of the content, relative to the folder
    unobserved/<key>                        raws, under their keys in the image bucket
    unobserved/<stem of key>.json           their sidecars
    unobserved/<stem of key>.truth.parquet  their truth
    unobserved/<instrument>/groups/<group>.json   announcement of each visit
    content/camera.json, content/sky_map.json
    content/calibrations/<type>_<detector>[_<filter>].fits
    content/templates/<tract>_<patch>_<band>.fits
    content/reference_stars.parquet
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table, unique, vstack

from prompt_processing.images import SkyMap
from prompt_processing.images.fits import write_exposure
from prompt_processing.instruments import Camera, Detector, detector_centre, load_camera, load_instrument

from .calibrations import calibration_products, measured_camera
from .conditions import ObservingConditions
from .electronics import with_drawn_electronics
from .pair import NO_TEMPLATE
from .planning import (
    READOUT_SECONDS,
    SLEW_SECONDS,
    PlannedExposure,
    density_for,
    plan_visits,
    template_conditions,
)
from .raw_image import simulate_raw
from .reference import reference_stars
from .sensor import Sensor
from .sky import SkyCatalogue, SkyDensity
from .templates import (
    PADDING_ARCSEC,
    PatchArea,
    areas_to_fill,
    expected_noise,
    footprints,
    sky_map_around,
    template_coadd,
)


@dataclass(frozen=True, slots=True)
class NightCalibration:
    """Calibration file in the Butler's format.

    Attributes
    ----------
    dataset_type
        ``bias``, ``dark``, ``flat`` or ``defects``.
    detector : `int`
    physical_filter
        Filter of a flat.
    path : `~pathlib.Path`
    """

    dataset_type: str
    detector: int
    physical_filter: str | None
    path: Path


@dataclass(frozen=True, slots=True)
class NightTemplate:
    """Template file in the Butler's format.

    Attributes
    ----------
    tract, patch : `int`
    band : `str`
    path : `~pathlib.Path`
    """

    tract: int
    patch: int
    band: str
    path: Path


@dataclass(frozen=True, slots=True, eq=False)
class Night:
    """A simulated night.

    Attributes
    ----------
    root : `~pathlib.Path`
    camera
        Camera with measured gains, for the repository.
    sky_map : `~prompt_processing.images.SkyMap`
    groups
        Announcement of each visit, in order of time: ``group``, ``instrument``, ``ra``, ``dec``,
        ``rotation`` (degrees), ``physical_filter``, ``band``, ``exposure_time``, ``duration`` (seconds),
        ``begin`` (TAI, ISO), ``nimages``, ``survey``, ``exposures``, ``detectors``.
    calibrations : `tuple` [`NightCalibration`, ...]
    templates : `tuple` [`NightTemplate`, ...]
    raws
        In order of time.
    """

    root: Path
    camera: Camera
    sky_map: SkyMap
    groups: tuple[dict[str, Any], ...]
    calibrations: tuple[NightCalibration, ...]
    templates: tuple[NightTemplate, ...]
    raws: tuple[Path, ...]

    @property
    def pool(self) -> Path:
        """Folder of the raws that testers draw from."""
        return self.root / "unobserved"

    @property
    def reference_stars(self) -> Table:
        """Reference catalogue: ``id``, ``ra``, ``dec``, ``<band>_flux``, ``<band>_fluxErr``."""
        return Table.read(self.root / "content" / "reference_stars.parquet", format="parquet")

    @classmethod
    def load(cls, root: str | Path) -> Night:
        """Open a folder that `build_night` filled.

        Raises
        ------
        FileNotFoundError
            Raised if the folder does not hold a complete night.
        """
        root = Path(root)
        index = json.loads((root / "night.json").read_text())
        return cls(
            root=root,
            camera=Camera.from_json((root / "content" / "camera.json").read_text()),
            sky_map=SkyMap.from_json((root / "content" / "sky_map.json").read_text()),
            groups=tuple(index["groups"]),
            calibrations=tuple(
                NightCalibration(**{**item, "path": root / item["path"]}) for item in index["calibrations"]
            ),
            templates=tuple(
                NightTemplate(**{**item, "path": root / item["path"]}) for item in index["templates"]
            ),
            raws=tuple(root / path for path in index["raws"]),
        )


_Job = tuple[Callable[..., list[Any]], tuple[Any, ...]]
"""Function and arguments of a job."""


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Parameters shared by all worker processes."""

    root: Path
    camera: Camera
    seed: int
    density: SkyDensity
    epoch_mjd: float
    sky_map: SkyMap
    template_conditions: tuple[ObservingConditions, ...]

    @property
    def sky(self) -> SkyCatalogue:
        return SkyCatalogue(self.seed, self.density, self.epoch_mjd)


def build_night(
    out_dir: str | Path,
    instrument: str,
    detectors: Sequence[int],
    n_visits: int = 3,
    seed: int = 1,
    workers: int = 2,
    *,
    miniature: tuple[int, int] | None = None,
    physical_filter: str | None = None,
    exposure_time: float = 30.0,
    snaps: int = 1,
    n_template: int = 4,
) -> Night:
    """Simulate a night: raws, and all inputs that a repository needs to process them.

    Parameters
    ----------
    out_dir
        Folder for the night, created if missing.
    instrument
        Short name, such as ``LSSTCam``; its description must have values for simulations.
    detectors
        Ids of the detectors.
    n_visits
        Visits of one field, some minutes apart.
    seed
        Random seed; the same seed simulates the same night for any `workers`.
    workers
        Number of processes; 1 for this process only. An interruption ends them at once.
    miniature
        Columns and rows of each amplifier, for small detectors.
    physical_filter
        Physical filter; by default one of band r.
    exposure_time
        Exposure time of a snap, seconds.
    snaps
        Exposures per visit.
    n_template
        Exposures per template; 0 for no templates.

    Returns
    -------
    night : `Night`

    Raises
    ------
    LookupError
        Raised if the instrument or a detector is unknown.
    """
    camera = with_drawn_electronics(load_camera(instrument))
    if miniature is not None:
        camera = camera.miniature(*miniature)
    chosen = [camera.detector(id_) for id_ in detectors]
    exposures = plan_visits(camera, n_visits, seed, physical_filter, exposure_time, snaps)
    band = exposures[0].band
    regions = footprints(camera, chosen, exposures)
    # About two patches along a detector: larger ones would cover too much sky outside the detectors.
    patch_size = int(np.clip(max(max(d.width, d.height) for d in chosen) // 2, 400, 2000))
    sky_map = sky_map_around(
        f"{instrument.lower()}_simulated", regions, round(camera.pixel_scale_arcsec, 4), patch_size
    )
    plan = _Plan(
        root=Path(out_dir),
        camera=camera,
        seed=seed,
        density=density_for(camera, chosen[0], exposures[0].conditions),
        epoch_mjd=exposures[len(exposures) // 2].mid_mjd_tai,
        sky_map=sky_map,
        template_conditions=tuple(template_conditions(camera, band, seed, n_template, exposure_time)),
    )
    areas = areas_to_fill(sky_map, regions) if n_template else []
    filters = {exposures[0].physical_filter: band}
    # Longest jobs first, so that no process finishes late.
    jobs: list[_Job] = [
        (_make_raw, (plan, planned, detector.id)) for planned in exposures for detector in chosen
    ]
    jobs += [(_make_calibrations, (plan, detector.id, filters)) for detector in chosen]
    jobs += [
        (_make_template, (plan, area)) for area in sorted(areas, key=lambda area: -area.width * area.height)
    ]
    content = plan.root / "content"
    for folder in (content / "calibrations", content / "templates", plan.root / "unobserved"):
        folder.mkdir(parents=True, exist_ok=True)
    (content / "camera.json").write_text(measured_camera(camera, seed).to_json())
    (content / "sky_map.json").write_text(sky_map.to_json())
    groups = _write_groups(plan, exposures, [detector.id for detector in chosen])
    made = _run(jobs, workers, lambda: _write_reference_stars(plan, exposures, chosen))
    index = {
        "groups": groups,
        "raws": [str(item) for item in made if isinstance(item, Path)],
        "calibrations": [_relative(item) for item in made if isinstance(item, NightCalibration)],
        "templates": [_relative(item) for item in made if isinstance(item, NightTemplate)],
    }
    # Written last, so that a folder with this file is complete.
    (plan.root / "night.json").write_text(json.dumps(index, indent=1))
    return Night.load(plan.root)


def _run(jobs: list[_Job], workers: int, meanwhile: Callable[[], None]) -> list[Any]:
    """Run jobs in processes, and a function in this one; return the results in the order of the jobs."""
    if workers <= 1:
        meanwhile()
        return [item for function, arguments in jobs for item in function(*arguments)]
    # Forking a process with a Kafka client's threads may deadlock.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            # The processes inherit what is blocked: Ctrl-C reaches only this one, which ends the others.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                futures = [pool.submit(function, *arguments) for function, arguments in jobs]
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            meanwhile()
            return [item for future in futures for item in future.result()]
        # An interruption as well: the pool would wait for its processes.
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise


def _sensor(plan: _Plan, detector: int) -> Sensor:
    readout = load_instrument(plan.camera.name).document.raw
    return Sensor.make(plan.camera.detector(detector), plan.seed, readout)


def _make_raw(plan: _Plan, planned: PlannedExposure, detector: int) -> list[Path]:
    raw = simulate_raw(
        plan.sky,
        plan.camera,
        _sensor(plan, detector),
        planned,
        plan.seed,
        expected_noise(plan.template_conditions, plan.camera.pixel_scale_arcsec)
        if plan.template_conditions
        else NO_TEMPLATE,
    )
    return [raw.write(plan.root / "unobserved").relative_to(plan.root)]


def _make_calibrations(plan: _Plan, detector: int, filters: dict[str, str]) -> list[NightCalibration]:
    products = calibration_products(_sensor(plan, detector), filters, plan.seed)
    folder = Path("content") / "calibrations"
    made = [
        NightCalibration(kind, detector, None, folder / f"{kind}_{detector:03d}.fits")
        for kind in ("bias", "dark", "defects")
    ]
    write_exposure(plan.root / made[0].path, products.bias)
    write_exposure(plan.root / made[1].path, products.dark)
    products.defects.write_fits(plan.root / made[2].path)
    for physical_filter, flat in products.flats.items():
        path = folder / f"flat_{detector:03d}_{physical_filter}.fits"
        write_exposure(plan.root / path, flat)
        made.append(NightCalibration("flat", detector, physical_filter, path))
    return made


def _make_template(plan: _Plan, area: PatchArea) -> list[NightTemplate]:
    band = plan.template_conditions[0].band
    coadd = template_coadd(plan.sky, plan.sky_map, area, plan.template_conditions, plan.seed)
    path = Path("content") / "templates" / f"{area.tract}_{area.patch}_{band}.fits"
    write_exposure(plan.root / path, coadd)
    return [NightTemplate(area.tract, area.patch, band, path)]


def _write_reference_stars(
    plan: _Plan, exposures: Sequence[PlannedExposure], detectors: Sequence[Detector]
) -> None:
    planned, pixel = exposures[0], plan.camera.pixel_scale_arcsec
    # Limit for stars that an exposure measures to a few per cent.
    faint = plan.density.transient_magnitudes[1] - 1.2
    tables = []
    for detector in detectors:
        ra, dec = detector_centre(plan.camera, detector, planned.ra, planned.dec, planned.rotation)
        radius = (np.hypot(detector.width, detector.height) / 2 * pixel + PADDING_ARCSEC + 60) / 3600
        tables.append(reference_stars(plan.sky, ra, dec, radius, plan.seed, faint=faint))
    table = unique(vstack(tables), keys="id")
    table.write(plan.root / "content" / "reference_stars.parquet", format="parquet", overwrite=True)


def _write_groups(
    plan: _Plan, exposures: Sequence[PlannedExposure], detectors: list[int]
) -> list[dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for planned in exposures:
        group = groups.setdefault(
            planned.group,
            {
                "group": planned.group,
                "instrument": planned.instrument,
                "ra": planned.ra,
                "dec": planned.dec,
                "rotation": planned.rotation,
                "physical_filter": planned.physical_filter,
                "band": planned.band,
                "exposure_time": planned.exposure_time,
                "duration": SLEW_SECONDS + planned.snaps * (planned.exposure_time + READOUT_SECONDS),
                "begin": planned.begin.tai.isot,
                "nimages": planned.snaps,
                "survey": planned.survey,
                "exposures": [],
                "detectors": detectors,
            },
        )
        group["exposures"].append(planned.exposure)
    folder = plan.root / "unobserved" / exposures[0].instrument / "groups"
    folder.mkdir(parents=True, exist_ok=True)
    for name, group in groups.items():
        (folder / f"{name}.json").write_text(json.dumps(group, indent=1))
    return list(groups.values())


def _relative(item: NightCalibration | NightTemplate) -> dict[str, Any]:
    return {**asdict(item), "path": str(item.path)}
