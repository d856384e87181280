"""Files that another stack has recorded under the names of its own formatters."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stack_repository as stack
from astropy.io import fits
from astropy.table import Table
from lsst.daf.butler import Butler, DatasetRef, DatasetType, FileDataset
from stack_files import sky_map_pickle, write_exposure

from prompt_processing.butler.internals import files_of
from prompt_processing.butler.recorded_formatters import know_formatters, local_formatter
from prompt_processing.images import Defects, Exposure, SkyMap
from prompt_processing.images.afw.calibrations import Linearizer

RUN = "LSSTCam/calib/unbounded"
UNKNOWN = "lsst.meas.transiNet.modelPackages.formatters.NNModelPackageFormatter"


def make_repository(folder: Path) -> Butler:
    butler = Butler.from_config(Butler.makeRepo(str(folder)), writeable=True)
    butler.registry.insertDimensionData(
        "instrument", {"name": "LSSTCam", "class_name": "lsst.obs.lsst.LsstCam"}
    )
    butler.registry.insertDimensionData(
        "detector", {"instrument": "LSSTCam", "id": 94, "full_name": "R22_S11", "purpose": "SCIENCE"}
    )
    butler.registry.insertDimensionData(
        "skymap", {"name": "m", "hash": b"1", "tract_max": 1, "patch_nx_max": 1, "patch_ny_max": 1}
    )
    return butler


@pytest.fixture
def butler(tmp_path: Path) -> Iterator[Butler]:
    made = make_repository(tmp_path / "central")
    yield made
    made.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Butler]:
    made = make_repository(tmp_path / "local")
    yield made
    made.close()


DETECTOR = {"instrument": "LSSTCam", "detector": 94}


def an_exposure(path: Path) -> Path:
    planes: Any = np.ones((4, 6), np.float32), np.zeros((4, 6), np.int32), np.ones((4, 6), np.float32)
    write_exposure(path, planes, {"BAD": 0})
    return path


def a_table(path: Path, **columns: Any) -> Path:
    fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(Table(columns))]).writeto(path)
    return path


def test_exposure_and_its_components_are_read(butler: Butler, tmp_path: Path) -> None:
    file = an_exposure(tmp_path / "bias.fits")
    ref = stack.enter(butler, "bias", "ExposureF", DETECTOR, file, stack.EXPOSURE, run=RUN, calibration=True)
    assert isinstance(butler.get(ref), Exposure)
    assert butler.get(ref.makeComponentRef("image")).shape == (4, 6)
    assert butler.get(ref.makeComponentRef("wcs")) is None
    assert butler.get(ref.makeComponentRef("dimensions")) == (6, 4)


def test_reader_is_chosen_by_storage_class(butler: Butler, tmp_path: Path) -> None:
    cases: list[tuple[str, str, type, dict[str, Any]]] = [
        ("defects", "Defects", Defects, {"x0": [1], "y0": [2], "width": [3], "height": [4]}),
        (
            "linearizer",
            "Linearizer",
            Linearizer,
            {"AMPLIFIER_NAME": ["C00"], "TYPE": ["None"], "COEFFS": [[0.0]]},
        ),
        ("dia_source_unfiltered", "SourceCatalog", Table, {"id": [1]}),
    ]
    for name, storage_class, kind, columns in cases:
        file = a_table(tmp_path / f"{name}.fits", **columns)
        ref = stack.enter(butler, name, storage_class, DETECTOR, file, stack.GENERIC, run=RUN)
        assert isinstance(butler.get(ref), kind)
    # Also as any table that the caller asks for.
    assert len(butler.get(ref, storageClass="DataFrame")) == 1


def test_error_names_the_type_that_is_not_read(butler: Butler, tmp_path: Path) -> None:
    file = a_table(tmp_path / "t.fits", wavelength=[1.0])
    ref = stack.enter(
        butler, "transmission_sensor", "TransmissionCurve", DETECTOR, file, stack.GENERIC, run=RUN
    )
    with pytest.raises(Exception, match=r"transmission_sensor.*TransmissionCurve.*no reader here"):
        butler.get(ref)


def test_copies_are_made_of_what_is_not_read(butler: Butler, local: Butler, tmp_path: Path) -> None:
    file = a_table(tmp_path / "model.fits", x=[1.0])
    ref = stack.enter(butler, "pretrainedModel", "StructuredDataDict", DETECTOR, file, UNKNOWN, run=RUN)
    local.transfer_from(files_of(butler), [ref], transfer="copy", register_dataset_types=True)
    with pytest.raises(Exception, match=r"pretrainedModel.*NNModelPackageFormatter.*no reader here"):
        local.get(ref)


def test_pickled_sky_map_is_read_without_running_it(butler: Butler, local: Butler, tmp_path: Path) -> None:
    config = (
        "config.raList=[10.0]\nconfig.decList=[1.0]\nconfig.radiusList=[0.1]\nconfig.projection='TAN'\n"
        "config.tractOverlap=0.0"
    )
    file = tmp_path / "skyMap.pickle"
    file.write_bytes(sky_map_pickle("DiscreteSkyMap", config))
    ref = stack.enter(butler, "skyMap", "SkyMap", {"skymap": "m"}, file, stack.PICKLE, run="skymaps")
    local.transfer_from(files_of(butler), [ref], transfer="copy", register_dataset_types=True)
    sky_map = local.get(ref)
    assert isinstance(sky_map, SkyMap)
    assert (sky_map.name, len(sky_map.tracts)) == ("m", 1)
    # It is read once.
    assert local.get(ref) is sky_map


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (str(Trap.place),)

    place = Path()


def test_other_pickles_are_not_read(butler: Butler, local: Butler, tmp_path: Path) -> None:
    Trap.place = tmp_path / "trap"
    for name, storage_class, data_id in (
        ("skyMap", "SkyMap", {"skymap": "m"}),
        ("thing", "StructuredDataDict", DETECTOR),
    ):
        file = tmp_path / f"{name}.pickle"
        file.write_bytes(pickle.dumps(Trap()))
        ref = stack.enter(butler, name, storage_class, data_id, file, stack.PICKLE, run="skymaps")
        local.transfer_from(files_of(butler), [ref], transfer="copy", register_dataset_types=True)
        with pytest.raises(Exception, match=name):
            local.get(ref)
    assert not Trap.place.exists()


def test_recorded_names_survive_ingestion(butler: Butler, tmp_path: Path) -> None:
    """The stack must still read what passes through here."""
    know_formatters([UNKNOWN])
    for number, name in enumerate((stack.EXPOSURE, stack.GENERIC, UNKNOWN)):
        kind = DatasetType(f"type{number}", DETECTOR, "StructuredDataDict", universe=butler.dimensions)
        butler.registry.registerDatasetType(kind)
        data_id = butler.registry.expandDataId(DETECTOR, dimensions=kind.dimensions)
        ref = DatasetRef(kind, data_id, run="imported")
        butler.collections.register("imported")
        butler.ingest(
            FileDataset(str(an_exposure(tmp_path / f"{number}.fits")), [ref], formatter=name),
            transfer="direct",
        )
        (stored,) = butler._datastore.export([ref])
        assert stored.formatter == name


def test_installed_formatters_stay_their_own() -> None:
    yaml = "lsst.daf.butler.formatters.yaml.YamlFormatter"
    know_formatters([yaml, "not a name"])
    assert local_formatter(yaml) == yaml
    assert importlib.import_module("lsst.daf.butler.formatters.yaml").YamlFormatter.name() == yaml


def test_other_modules_of_the_stack_stay_absent() -> None:
    for name in ("lsst.afw", "lsst.obs.base.instrument", "lsst.ip.isr"):
        with pytest.raises(ImportError):
            importlib.import_module(name)
