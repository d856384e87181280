"""Images of a repository that has the stack's storage classes, read in our process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS
from lsst.daf.butler import Butler, DatasetRef, DatasetType, FileDataset, Quantum, QuantumBackedButler
from lsst.images import MaskedImage

from prompt_processing.butler.conversions import field_kernel_of, kernel_of, processed_exposure_of
from prompt_processing.butler.detector_image import DetectorImage
from prompt_processing.butler.field_types import FIELD_FORMATTER, field_dataset
from prompt_processing.butler.formatters import OWN_FORMATTERS
from prompt_processing.butler.internals import butler_of_quantum
from prompt_processing.butler.types import use_butler_types
from prompt_processing.images import Exposure, MatchingKernel
from prompt_processing.images.fits import read_exposure, write_exposure
from prompt_processing.images.layout.identity import Identity
from prompt_processing.images.layout.parts import read_part, write_part
from prompt_processing.instruments import RawFrame
from prompt_processing.instruments.camera import load_camera

use_butler_types()
OURS = "prompt_processing.butler.formatters.ExposureFormatter"
RECORDS = [
    ("instrument", {"name": "I", "detector_max": 1, "class_name": "lsst.pipe.base.Instrument"}),
    ("detector", {"instrument": "I", "id": 0, "full_name": "one"}),
    ("physical_filter", {"instrument": "I", "name": "r", "band": "r"}),
    ("day_obs", {"instrument": "I", "id": 20250101}),
    ("group", {"instrument": "I", "name": "a group"}),
    ("visit", {"instrument": "I", "id": 1, "name": "1", "physical_filter": "r", "day_obs": 20250101}),
    (
        "exposure",
        {"instrument": "I", "id": 1, "obs_id": "1", "physical_filter": "r", "group": "a group"}
        | {"day_obs": 20250101},
    ),
]


@pytest.fixture(scope="module")
def butler(tmp_path_factory: pytest.TempPathFactory) -> Butler:
    folder = str(tmp_path_factory.mktemp("central"))
    Butler.makeRepo(folder)
    butler = Butler.from_config(folder, writeable=True, run="outputs")
    for name, values in RECORDS:
        butler.registry.insertDimensionData(name, values)
    return butler


@pytest.mark.parametrize(
    ("name", "registered"),
    [
        ("post_isr_image", "Exposure"),
        ("preliminary_visit_image", "Exposure"),
        ("preliminary_visit_image", "ExposureF"),
        ("difference_image", "ExposureF"),
    ],
)
def test_output_is_read_where_the_stacks_type_is_registered(
    butler: Butler, tmp_path: Path, name: str, registered: str
) -> None:
    of = "exposure" if name == "post_isr_image" else "visit"
    known = DatasetType(name, ("instrument", of, "detector"), registered, universe=butler.dimensions)
    butler.registry.removeDatasetType(name)
    butler.registry.registerDatasetType(known)
    data_id = butler.registry.expandDataId({"instrument": "I", of: 1, "detector": 0})
    ref = DatasetRef(DatasetType(name, known.dimensions, "ExposureF"), data_id, "outputs")
    pixels = np.arange(2000, dtype=np.float32).reshape(40, 50)
    path = tmp_path / "image.fits"
    write_exposure(path, Exposure(pixels, np.zeros((40, 50), np.int32), np.ones_like(pixels)), Identity(name))
    butler.ingest(
        field_dataset(FileDataset(str(path), [ref], formatter=OURS), OWN_FORMATTERS, {name: known}),
        transfer="direct",
    )
    assert isinstance(butler.get(name, data_id), DetectorImage)
    found = butler.get(name, data_id, storageClass="ExposureF").image
    # The file rounds to an eighth of the noise.
    np.testing.assert_allclose(found, pixels, atol=0.13)
    butler.pruneDatasets(butler.query_datasets(name), disassociate=True, unstore=True, purge=True)


def test_raws_and_images_are_images_of_a_detector() -> None:
    assert issubclass(RawFrame, DetectorImage)
    assert issubclass(MaskedImage, DetectorImage)
    assert not issubclass(np.ndarray, DetectorImage)


def test_raw_is_not_taken_for_a_processed_image() -> None:
    with pytest.raises(TypeError, match="signature removal"):
        processed_exposure_of(RawFrame({}, "I", 0, ()))


def test_a_quantum_reads_images_as_the_worker_does_at_night(butler: Butler, tmp_path: Path) -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [320.6, -17.9], [1295.5, 279.5]
    wcs.wcs.cd = np.array([[-0.6, 0.8], [0.8, 0.6]]) * 0.2 / 3600
    pixels = np.ones((40, 50), np.float32)
    image = Exposure(pixels, np.zeros((40, 50), np.int32), pixels, wcs)
    path = tmp_path / "coadd.fits"
    write_exposure(path, image, Identity("coadd"))
    registered = DatasetType("coadd", ("instrument",), "MaskedImageV2", universe=butler.dimensions)
    butler.registry.registerDatasetType(registered)
    ref = DatasetRef(registered, butler.registry.expandDataId(instrument="I"), "outputs")
    butler.ingest(FileDataset(str(path), [ref], formatter=FIELD_FORMATTER), transfer="direct")
    records = butler._datastore.export_records([ref])
    wanted = ref.overrideStorageClass("ExposureF")
    quantum = Quantum(inputs={wanted.datasetType: [wanted]}, datastore_records=records)
    empty = QuantumBackedButler.from_predicted(butler._config, [], [], butler.dimensions, {})
    with butler_of_quantum(empty, quantum, {"coadd": registered}) as of_quantum:
        found = of_quantum.get(wanted).wcs
    at_night = read_exposure(path).wcs
    assert at_night is not None
    # From a projection of the stack it would differ in its last digits.
    assert found.wcs.cd.tolist() == at_night.wcs.cd.tolist()
    assert found.wcs.crpix.tolist() == at_night.wcs.crpix.tolist()
    # A task of others that wants their type gets what their reader makes.
    theirs = Quantum(inputs={registered: [ref]}, datastore_records=records)
    with butler_of_quantum(empty, theirs, {"coadd": registered}) as of_quantum:
        assert type(of_quantum.get(ref)) is MaskedImage


@pytest.mark.parametrize("miniature", [None, (127, 500)])
def test_a_kernel_has_the_box_of_its_image_however_it_is_written(
    miniature: tuple[int, int] | None, tmp_path: Path
) -> None:
    # At night its file is written from our type, by day from the type that the registry has.
    camera = load_camera("LSSTCam")
    detector = (camera.miniature(*miniature) if miniature else camera).detector(94)
    height, width = detector.height, detector.width
    kernel = MatchingKernel(
        np.ones((1, 3, 3)), np.array([[1.0, 0.1, -0.2]]), 1, (width - 1) / 2, (height - 1) / 2, width / 2
    )
    described = field_kernel_of(kernel)
    assert described.bounds.bbox.shape == (height, width)
    write_part(tmp_path / "kernel.fits", kernel, Identity("difference_kernel", "LSSTCam", 94))
    at_night = read_part(tmp_path / "kernel.fits")
    assert isinstance(at_night, MatchingKernel)
    for back in (at_night, kernel_of(described)):
        assert (back.x_centre, back.y_centre) == (kernel.x_centre, kernel.y_centre)
        np.testing.assert_allclose(back.weights_at(100, 3000), kernel.weights_at(100, 3000), rtol=1e-12)
