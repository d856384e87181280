"""Repositories in which the Rubin stack's formatters, types and arrangement are recorded."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    DatasetRef,
    DatasetType,
    FileDataset,
    Timespan,
)
from stack_files import sky_map_pickle
from stack_products import (
    write_stack_camera,
    write_stack_defects,
    write_stack_exposure,
    write_stack_shard,
)

from prompt_processing.butler.formatters import read_image
from prompt_processing.images import SkyMap
from prompt_processing.instruments.camera import Camera, Detector

GENERIC = "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter"
EXPOSURE = "lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter"
REGISTERED = {"post_isr_image": "Exposure", "template_detector": "SourceCatalog"}
_FOCAL_PLANE = (0, 90, 94, 98, 188)
"""Detectors in the stack's camera: the centre, and some from which its optics follow."""
IMAGES = ("ExposureF", "MaskedImageV2", "VisitImage", "DifferenceImage")
PICKLE = "lsst.daf.butler.formatters.pickle.PickleFormatter"


def enter(
    butler: Butler,
    name: str,
    storage_class: str,
    data_id: Mapping[str, Any],
    file: Path,
    formatter: str,
    *,
    run: str,
    calibration: bool = False,
) -> DatasetRef:
    """Enter a file as the stack has recorded it."""
    types = {one.name: one for one in butler.registry.queryDatasetTypes()}
    if name not in types:
        dimensions = [key for key in data_id if not key.startswith("_")]
        types[name] = DatasetType(
            name, dimensions, storage_class, isCalibration=calibration, universe=butler.dimensions
        )
        butler.registry.registerDatasetType(types[name])
    butler.collections.register(run)
    full = butler.registry.expandDataId(dict(data_id), dimensions=types[name].dimensions)
    ref = DatasetRef(types[name], full, run=run)
    # Ingested by a formatter that exists everywhere; only its name differs.
    plain = "lsst.daf.butler.formatters.yaml.YamlFormatter"
    butler.ingest(FileDataset(str(file), [ref], formatter=plain), transfer="direct")
    rename(Path(butler._config.configDir.ospath), {ref.id.hex: formatter})  # type: ignore[attr-defined]
    return ref


def rename(repository: Path, formatters: Mapping[str, str]) -> None:
    """Change the recorded formatters, by dataset id."""
    execute(
        repository,
        "UPDATE file_datastore_records SET formatter = ? WHERE dataset_id = ?",
        [(formatter, identity) for identity, formatter in formatters.items()],
    )


def execute(repository: Path, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Change the registry of a repository in SQLite."""
    with closing(sqlite3.connect(repository / "gen3.sqlite3")) as database, database:
        database.executemany(statement, list(rows))


def as_the_stack_has_it(folder: Path, registered: Mapping[str, str] = REGISTERED) -> None:
    """Change the central repository in a folder to one that the stack has filled.

    Images are in the layout of ``afw``, with WCS, PSF and calibration in archives; defects and camera are in
    the stack's forms. The sky map is pickled, and the reference catalogue has a name of its own. Templates,
    catalogue and sky map are not part of the chain of inputs.

    Parameters
    ----------
    folder
        Folder with a repository ``central`` for LSSTCam and its detector 94.
    registered
        Storage classes of outputs that are registered otherwise than by this package.
    """
    central = folder / "central"
    with Butler.from_config(str(central), writeable=True) as butler:
        refs = butler.query_all_datasets("*", find_first=False, limit=None)
        formatters, images = {}, {}
        for ref in refs:
            kind = ref.datasetType.storageClass_name
            path = Path(butler.getURI(ref).ospath)
            if kind in IMAGES:
                # Coadds have the pixels of their tract.
                origin = (1200, 800) if "patch" in ref.datasetType.dimensions else (0, 0)
                write_stack_exposure(path, read_image(butler, ref), origin)
                formatters[ref.id.hex] = EXPOSURE
                images[ref.id.hex] = ref.datasetType.name
            elif kind == "SkyMap":
                pickled = sky_map_pickle("DiscreteSkyMap", _discrete(butler.get(ref)))
                path.with_suffix(".pickle").write_bytes(pickled)
                path.unlink()
                formatters[ref.id.hex] = PICKLE
            elif kind == "Camera":
                camera = butler.get(ref)
                write_stack_camera(path.with_suffix(".fits"), with_nominal_gains(camera), _FOCAL_PLANE)
                path.unlink()
                formatters[ref.id.hex] = GENERIC
            elif kind == "Defects":
                write_stack_defects(path, butler.get(ref))
                formatters[ref.id.hex] = GENERIC
        stars = [ref for ref in refs if ref.datasetType.name == "reference_stars"]
        files = folder / "catalogue"
        files.mkdir()
        for ref in stars:
            data_id = dict(ref.dataId.required)
            shard = files / f"{data_id['htm7']}.fits"
            write_stack_shard(shard, butler.get(ref))
            enter(
                butler, "the_monster_20250219", "SimpleCatalog", data_id, shard, GENERIC, run="refcats/DM-1"
            )
        butler.collections.prepend_chain("refcats", "refcats/DM-1")
        butler.pruneDatasets(stars, disassociate=True, unstore=True, purge=True)
        _enter_isr_calibrations(butler, files, camera)
        network = files / "network.zip"
        with zipfile.ZipFile(network, "w") as archive:
            archive.writestr("architecture.py", "raise SystemExit")
            archive.writestr("checkpoint.pth.tar", b"0")
        enter(
            butler,
            "pretrainedModelPackage",
            "NNModelPackagePayload",
            {},
            network,
            "lsst.meas.transiNet.modelPackages.formatters.NNModelPackageFormatter",
            run="pretrained_models/dummy",
        )
        butler.collections.redefine_chain("LSSTCam/defaults", ["LSSTCam/calib", "pretrained_models/dummy"])
    rename(central, formatters)
    execute(central, "UPDATE file_datastore_records SET file_size = ?", [(-1,)])
    execute(
        central,
        "UPDATE file_datastore_records SET storage_class = 'ExposureF' WHERE dataset_id = ?",
        [(identity,) for identity in images],
    )
    execute(
        central,
        "UPDATE dataset_type SET storage_class = 'ExposureF' WHERE name = ?",
        [(name,) for name in set(images.values())],
    )
    execute(
        central,
        "UPDATE file_datastore_records SET path = replace(path, '.json', ?) WHERE storage_class = ?",
        [(".pickle", "SkyMap"), (".fits", "Camera")],
    )
    execute(
        central,
        "UPDATE dataset_type SET storage_class = ? WHERE name = ?",
        [(storage_class, name) for name, storage_class in registered.items()],
    )


def with_nominal_gains(camera: Camera) -> Camera:
    """Return the camera with gains that differ by a tenth from those of ``ptc`` and ``gain_correction``."""

    def nominal(detector: Detector) -> Detector:
        amplifiers = tuple(replace(one, gain=1.1 * one.gain) for one in detector.amplifiers)
        return replace(detector, amplifiers=amplifiers)

    return replace(camera, detectors={number: nominal(one) for number, one in camera.detectors.items()})


def _enter_isr_calibrations(butler: Butler, folder: Path, camera: Camera) -> None:
    """Enter calibrations of ``ip_isr``, which together give the camera's own properties."""
    amplifiers = camera.detector(94).amplifiers
    names = [one.name.replace("Segment", "C") for one in amplifiers]
    many = len(names)
    tables = {
        "ptc": [
            Table(
                {
                    "AMPLIFIER_NAME": names, "GAIN": [one.gain / 1.02 for one in amplifiers],
                    "NOISE": [one.read_noise for one in amplifiers], "PTC_TURNOFF": [9e4] * many,
                    "BAD_AMPS": [[""]] * many,
                },
                meta={"OBSTYPE": "PTC"},
            )
        ],
        "gain_correction": [
            Table({"AMP_NAME": names, "GAIN_ADJUSTMENT": [1.02] * many}, meta={"OBSTYPE": "gainCorrection"})
        ],
        "linearizer": [
            Table(
                {
                    "AMPLIFIER_NAME": names, "TYPE": ["Spline"] * many,
                    "COEFFS": [[0.0, 4e4, 9e4, 0.0, 0.01, 0.02]] * many,
                },
                meta={"OBSTYPE": "LINEARIZER", "HAS_LINEARITY": True, "LINEARITY_UNITS": "adu"},
            )
        ],
        "crosstalk": [
            Table({"CT_COEFFS": [np.full(many * many, 1e-8)]}, meta={"OBSTYPE": "CROSSTALK"})
        ],
        "cti": [
            Table(
                {
                    "AMPLIFIER": names, "DRIFT_SCALE": [1e-7] * many, "DECAY_TIME": [2.0] * many,
                    "GLOBAL_CTI": [1e-7] * many,
                },
                meta={"OBSTYPE": "CTI"},
            ),
            Table(
                {
                    "AMPLIFIER": names, "SIZE": [0.01] * many, "EMISSION_TIME": [0.4] * many,
                    "PIXEL": [1] * many, "TYPE": ["linear"] * many, "COEFFS": [[1e-6, np.nan]] * many,
                }
            ),
        ],
    }  # fmt: skip
    storage = {"ptc": "PhotonTransferCurveDataset", "crosstalk": "CrosstalkCalib", "linearizer": "Linearizer"}
    detector = {"instrument": "LSSTCam", "detector": 94}
    butler.collections.register("LSSTCam/calib/DM-1", CollectionType.CALIBRATION)
    for name, content in tables.items():
        file = folder / f"{name}.fits"
        fits.HDUList([fits.PrimaryHDU(), *map(fits.table_to_hdu, content)]).writeto(file)
        found = enter(
            butler,
            name,
            storage.get(name, "IsrCalib"),
            detector,
            file,
            GENERIC,
            run=f"LSSTCam/calib/DM-1/{name}Gen",
            calibration=True,
        )
        butler.registry.certify("LSSTCam/calib/DM-1", [found], Timespan(None, None))
    butler.collections.prepend_chain("LSSTCam/calib", "LSSTCam/calib/DM-1")


def _discrete(sky_map: SkyMap) -> str:
    (tract,) = sky_map.tracts
    width = sky_map.patches_per_side * sky_map.patch_size
    radius = (width / 2 - 2) * sky_map.pixel_scale / 3600
    size = sky_map.patch_size
    return "\n".join(
        [
            f"config.tractBuilder['legacy'].patchInnerDimensions=[{size}, {size}]",
            f"config.tractBuilder['legacy'].patchBorder={sky_map.patch_overlap}",
            f"config.pixelScale={sky_map.pixel_scale}",
            "config.projection='TAN'",
            "config.tractOverlap=0.0",
            # The tract's number is its place in the list.
            f"config.raList={[0.0] * tract.id + [tract.ra]}",
            f"config.decList={[0.0] * tract.id + [tract.dec]}",
            f"config.radiusList={[0.01] * tract.id + [radius]}",
        ]
    )
