"""A minimal central repository, camera and pipelines."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time, TimeDelta
from lsst.dax.apdb import Apdb
from lsst.dax.apdb.sql import ApdbSql
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    RepeatableQuantumError,
    Struct,
)
from lsst.pipe.base import connectionTypes as ct  # noqa: N813

from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.images import Defects, Exposure, SkyMap, Tract
from prompt_processing.instruments.camera import Camera, load_camera
from prompt_processing.instruments.geometry import detector_centre
from prompt_processing.instruments.raw_key import format_obs_id
from prompt_processing.repository.central import make_central_repository
from prompt_processing.repository.content import CalibrationProduct, RepositoryContent, Template
from prompt_processing.settings.worker import Settings
from prompt_processing.simulation.electronics import with_drawn_electronics

INSTRUMENT = "LSSTCam"
DETECTOR = 94
FILTER, BAND = "r_57", "r"
RA, DEC, ROTATION = 150.0, 2.0, 30.0
# Beyond the exposures of that night whose filter the header corrections change.
EXPOSURE = 2025_06_09_00678
START = Time("2025-06-10T03:00:00", scale="tai")

VD = ("instrument", "visit", "detector")
ED = ("instrument", "exposure", "detector")
GD = ("instrument", "group", "detector")


class PrepareConnections(PipelineTaskConnections, dimensions=GD):
    info = ct.Input(name="regionTimeInfo", storageClass="RegionTimeInfo", dimensions=GD)
    objects = ct.Output(name="preloaded_dia_object", storageClass="ArrowAstropy", dimensions=GD)


class PrepareConfig(PipelineTaskConfig, pipelineConnections=PrepareConnections):
    pass


class PrepareTask(PipelineTask):
    ConfigClass = PrepareConfig
    _DefaultName = "prepare"

    def run(self, info: Any) -> Struct:
        return Struct(objects=Table({"id": [1]}))


class IsrConnections(PipelineTaskConnections, dimensions=ED):
    raw = ct.Input(name="raw", storageClass="Exposure", dimensions=ED)
    bias = ct.PrerequisiteInput(
        name="bias", storageClass="ExposureF", dimensions=("instrument", "detector"), isCalibration=True
    )
    flat = ct.PrerequisiteInput(
        name="flat",
        storageClass="ExposureF",
        dimensions=("instrument", "detector", "physical_filter"),
        isCalibration=True,
    )
    camera = ct.PrerequisiteInput(
        name="camera", storageClass="Camera", dimensions=("instrument",), isCalibration=True
    )
    image = ct.Output(name="post_isr_image", storageClass="ExposureF", dimensions=ED)


class IsrConfig(PipelineTaskConfig, pipelineConnections=IsrConnections):
    pass


class IsrTask(PipelineTask):
    ConfigClass = IsrConfig
    _DefaultName = "isr"

    def run(self, raw: Any, bias: Exposure, flat: Exposure, camera: Camera) -> Struct:
        self.metadata["level"] = float(bias.image[0, 0])
        return Struct(image=Exposure.blank(raw.shape))


class CalibrateConnections(PipelineTaskConnections, dimensions=VD):
    images = ct.Input(name="post_isr_image", storageClass="ExposureF", dimensions=ED, multiple=True)
    stars = ct.PrerequisiteInput(
        name="reference_stars",
        storageClass="ArrowAstropy",
        dimensions=("skypix",),
        multiple=True,
        deferLoad=True,
    )
    image = ct.Output(name="preliminary_visit_image", storageClass="ExposureF", dimensions=VD)


class CalibrateConfig(PipelineTaskConfig, pipelineConnections=CalibrateConnections):
    pass


class CalibrateTask(PipelineTask):
    ConfigClass = CalibrateConfig
    _DefaultName = "calibrateImage"

    def run(self, images: list[Exposure], stars: list[Any]) -> Struct:
        self.metadata["stars"] = sum(len(handle.get()) for handle in stars)
        return Struct(image=images[0])


class TemplateConnections(PipelineTaskConnections, dimensions=VD):
    image = ct.Input(name="preliminary_visit_image", storageClass="ExposureF", dimensions=VD)
    sky_map = ct.Input(name="skyMap", storageClass="SkyMap", dimensions=("skymap",))
    coadds = ct.Input(
        name="template_coadd",
        storageClass="ExposureF",
        dimensions=("skymap", "tract", "patch", "band"),
        multiple=True,
        deferLoad=True,
    )
    objects = ct.Input(name="preloaded_dia_object", storageClass="ArrowAstropy", dimensions=GD)
    template = ct.Output(name="template_detector", storageClass="ExposureF", dimensions=VD)


class TemplateConfig(PipelineTaskConfig, pipelineConnections=TemplateConnections):
    pass


class TemplateTask(PipelineTask):
    ConfigClass = TemplateConfig
    _DefaultName = "buildTemplate"
    failure: BaseException | None = None
    """Exception that the next run raises."""

    def run(self, image: Exposure, sky_map: SkyMap, coadds: list[Any], objects: Table) -> Struct:
        failure, type(self).failure = type(self).failure, None
        if failure is not None:
            raise failure
        self.metadata["coadds"] = len(coadds)
        return Struct(template=image)


class HopelessError(RepeatableQuantumError):
    """Error of a task for unsuitable data."""


NO_WORK = NoWorkFound("no overlap")

TASKS = {
    "Preprocessing": {"loadDiaCatalogs": "butler_world.PrepareTask"},
    "Isr": {"isr": "butler_world.IsrTask"},
    "SingleFrame": {"isr": "butler_world.IsrTask", "calibrateImage": "butler_world.CalibrateTask"},
    "ApPipe": {
        "isr": "butler_world.IsrTask",
        "calibrateImage": "butler_world.CalibrateTask",
        "buildTemplate": "butler_world.TemplateTask",
    },
}


def write_pipelines(folder: Path, pipelines: Mapping[str, Mapping[str, str]] = TASKS) -> dict[str, str]:
    """Write pipeline files from their tasks by label; return paths by stem."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for stem, tasks in pipelines.items():
        path = folder / f"{stem}.yaml"
        lines = [f"  {label}: {name}\n" for label, name in tasks.items()]
        path.write_text(f"description: {stem}\ntasks:\n{''.join(lines)}")
        paths[stem] = str(path)
    return paths


def small_camera() -> Camera:
    return with_drawn_electronics(load_camera(INSTRUMENT)).miniature(32, 32)


def small_content(camera: Camera, detectors: tuple[int, ...] = (DETECTOR,)) -> RepositoryContent:
    """Return complete content around the pointing; use `dataclasses.replace` to drop templates or stars."""
    ra, dec = detector_centre(camera, camera.detector(detectors[0]), RA, DEC, ROTATION)
    sky_map = SkyMap("tiny", 0.2, 200, 20, 5, (Tract(7, ra, dec),))

    def calibrations() -> Iterator[CalibrationProduct]:
        for number in detectors:
            detector = camera.detector(number)
            shape = (detector.height, detector.width)
            for level, (begin, end) in enumerate(
                [(None, START - TimeDelta(10.0, format="jd")), (START - TimeDelta(10.0, format="jd"), None)]
            ):
                bias = Exposure.blank(shape)
                bias.image += level
                yield CalibrationProduct("bias", number, bias, begin=begin, end=end)
            yield CalibrationProduct("dark", number, Exposure.blank(shape))
            for physical_filter in (FILTER, "g_6"):
                yield CalibrationProduct("flat", number, Exposure.blank(shape), physical_filter)
            yield CalibrationProduct("defects", number, Defects(np.zeros((0, 4), np.int32)))

    templates = [Template(7, patch, BAND, Exposure.blank(sky_map.patch_shape)) for patch in (0, 11, 12, 13)]
    stars = Table(
        {
            "id": [1, 2],
            "ra": [ra, ra + 40.0],
            "dec": [dec, dec],
            "r_flux": [1e5, 1e5],
            "r_fluxErr": [1.0, 1.0],
        }
    )
    return RepositoryContent(sky_map, stars, calibrations(), templates)


def make_central(folder: Path, **replaced: Any) -> None:
    """Make a central repository in a folder; ``replaced`` are fields of the content."""
    camera = small_camera()
    content = dataclasses.replace(small_content(camera), **replaced)
    paths = write_pipelines(folder / "pipelines")
    make_central_repository(str(folder / "central"), camera, content, pipelines=list(paths.values()))


def make_apdb(folder: Path) -> Apdb:
    """Make an empty APDB that the settings of `make_settings` name."""
    config = ApdbSql.init_database(db_url=f"sqlite:///{folder}/apdb.db")
    config.save(str(folder / "apdb.yaml"))
    return Apdb.from_uri(str(folder / "apdb.yaml"))


def make_settings(folder: Path, **others: Any) -> Settings:
    """Return settings of a worker for the repository of `make_central`."""
    paths = write_pipelines(folder / "pipelines")
    local = folder / "local"
    local.mkdir(exist_ok=True)
    main = ", ".join(paths[stem] for stem in ("ApPipe", "SingleFrame", "Isr"))
    values: dict[str, Any] = {
        "rubin_instrument": INSTRUMENT,
        "skymap": "tiny",
        "central_repo": str(folder / "central"),
        "local_repos": str(local),
        "repo_retry_delay": 0.01,
        "image_bucket": "unused",
        "kafka_cluster": "unused",
        "bucket_topic": "unused",
        "config_apdb": str(folder / "apdb.yaml"),
        "preprocessing_pipelines_config": f"- pipelines: [{paths['Preprocessing']}]",
        "main_pipelines_config": f"- pipelines: [{main}]",
    }
    return Settings.load(**(values | others))


def make_visit(**changed: Any) -> FannedOutVisit:
    fields = {
        "salIndex": 1,
        "groupId": "2025-06-10T03:00:00.000",
        "coordinateSystem": 2,
        "position": [RA, DEC],
        "startTime": START.unix_tai,
        "rotationSystem": 2,
        "cameraAngle": ROTATION,
        "filters": FILTER,
        "duration": 30.0,
        "nimages": 1,
        "instrument": INSTRUMENT,
        "survey": "test",
        "private_sndStamp": START.unix_tai - 20.0,
        "detector": DETECTOR,
    }
    return FannedOutVisit.parse(fields | changed)


def write_raw(
    folder: Path,
    camera: Camera,
    *,
    detector: int = DETECTOR,
    exposure: int = EXPOSURE,
    group: str = "2025-06-10T03:00:00.000",
    **header: Any,
) -> Path:
    """Write a raw of all amplifiers; ``header`` replaces keywords of the primary HDU, `None` removes them."""
    one = camera.detector(detector)
    obs_id = format_obs_id(camera.name, exposure)
    primary = {
        "INSTRUME": "LSSTCam",
        "TELESCOP": "Simonyi Survey Telescope",
        "OBSID": obs_id,
        "DAYOBS": str(exposure // 100_000),
        "SEQNUM": exposure % 100_000,
        "CAMCODE": "MC",
        "CONTRLLR": "O",
        "RAFTBAY": one.raft,
        "CCDSLOT": one.sensor,
        "FILTBAND": BAND,
        "FILTER": FILTER,
        "EXPTIME": 30.0,
        "DARKTIME": 30.1,
        "DATE-OBS": START.isot,
        "DATE-BEG": START.isot,
        "DATE-END": (START + TimeDelta(30.0, format="sec")).isot,
        "TIMESYS": "TAI",
        "IMGTYPE": "OBJECT",
        "REASON": "science",
        "PROGRAM": "test",
        "OBJECT": "field",
        "GROUPID": group,
        "RA": RA,
        "DEC": DEC,
        "ROTPA": ROTATION,
        "ROTCOORD": "sky",
        "RADESYS": "ICRS",
        "AMSTART": 1.2,
        "ELSTART": 60.0,
        "AZSTART": 10.0,
        "VIGN_MIN": "FULLY",
    }
    primary = {key: value for key, value in (primary | header).items() if value is not None}
    hdus: list[Any] = [fits.PrimaryHDU(header=fits.Header(primary))]
    size = f"[1:{one.width},1:{one.height}]"
    for amplifier in one.amplifiers:
        data = np.full(amplifier.raw_shape, 1000, np.int32)
        rows, columns = amplifier.data_slices
        x = (amplifier.x0 + 1, amplifier.x0 + amplifier.columns)
        y = (amplifier.y0 + 1, amplifier.y0 + amplifier.rows)
        x = x[::-1] if amplifier.flip_x else x
        # DETSEC counts rows from the opposite end of the assembled image.
        y = (one.height + 1 - y[0], one.height + 1 - y[1])
        y = y[::-1] if amplifier.flip_y else y
        hdu = fits.CompImageHDU(data, compression_type="RICE_1")
        # astropy's own `name` is in upper case.
        hdu.header["EXTNAME"] = f"Segment{amplifier.name[-2:]}"
        hdu.header["DATASEC"] = f"[{columns.start + 1}:{columns.stop},{rows.start + 1}:{rows.stop}]"
        hdu.header["DETSEC"] = f"[{x[0]}:{x[1]},{y[0]}:{y[1]}]"
        hdu.header["DETSIZE"] = size
        hdus.append(hdu)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{obs_id}_{one.name}.fits"
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path
