"""What we export is read where nobody has heard of this project."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS, Sip
from butler_fixtures import Worker
from field_stack import run_there
from lsst.daf.butler import Butler, DatasetRef, DatasetType

from prompt_processing.butler.collections import Collections
from prompt_processing.butler.export import destinations
from prompt_processing.butler.local.repository import LocalRepository
from prompt_processing.images import Background, Exposure, Mask, MatchingKernel, PhotoCalib, Psf, VisitInfo
from prompt_processing.images.fits import read_exposure
from prompt_processing.images.layout.names import FIELD_PLANES

pytestmark = pytest.mark.integration

READ_ALL = """
import importlib.util, json, sys
from lsst.daf.butler import Butler
assert importlib.util.find_spec("prompt_processing") is None
read, failed, formatters = {}, {}, set()
with Butler.from_config(sys.argv[1]) as butler:
    for ref in butler.query_all_datasets("LSSTCam/prompt/*", find_first=False):
        name = ref.datasetType.storageClass_name
        try:
            read[ref.datasetType.name] = type(butler.get(ref)).__name__
        except Exception as error:
            failed[ref.datasetType.name] = f"{name}: {error}"
print(json.dumps({"read": read, "failed": failed}))
"""

READ_IMAGE = """
import base64, json, sys
import numpy as np
from astropy.coordinates import SkyCoord
from lsst.daf.butler import Butler
def sent(array, kind):
    return base64.b64encode(np.ascontiguousarray(array, kind).tobytes()).decode()
with Butler.from_config(sys.argv[1], collections="run") as butler:
    (ref,) = butler.query_datasets(sys.argv[2])
    image = butler.get(ref)
    x, y = np.array(json.loads(sys.argv[3]))
    sky = image.sky_projection.pixel_to_sky(x=x, y=y)
    part = butler.get(ref.makeComponentRef("image"), parameters={"bbox": image.bbox.factory[10:20, 30:50]})
    print(json.dumps({
        "type": type(image).__name__,
        "image": sent(image.image.array, "<f4"),
        "variance": sent(image.variance.array, "<f4"),
        "planes": {name: sent(image.mask.get(name), "u1") for name in image.mask.schema.names},
        "sky": [list(sky.ra.deg), list(sky.dec.deg)],
        "psf": sent([image.psf.compute_kernel_image(x=a, y=b).array for a, b in zip(x, y)], "<f8"),
        "unit": str(image.unit),
        "part": list(part.array.shape),
        "detector": image.detector.name,
        "visit": image.obs_info.exposure_id,
        "filter": image.physical_filter,
        "band": image.band,
    }))
"""

READ_PARTS = """
import json, sys
from lsst.daf.butler import Butler
with Butler.from_config(sys.argv[1], collections="run") as butler:
    def get(name):
        (ref,) = butler.query_datasets(name)
        return butler.get(ref)
    kernel = get("difference_kernel").compute_kernel_image(x=700, y=1500)
    sky = get("preliminary_visit_image_background").subtracted.field.render()
    factor = get("initial_photoCalib_detector")
    import numpy as np
    print(json.dumps({
        "kernel": kernel.array.tolist(),
        "sky": sky.array[::97, ::89].tolist(),
        "factor": float(factor(x=np.array([5.0]), y=np.array([6.0]))[0]),
        "unit": str(factor.unit),
        "table": [list(row) for row in get("single_visit_star")],
    }, default=float))
"""

NEEDS_FURTHER_PACKAGES = {
    "TaskMetadata",
    "RegionTimeInfo",
    "ProvenanceQuantumGraph",
    "MetricMeasurementBundle",
}
"""Types of lsst-pipe-base and of analysis_tools, which the registry of any stack names."""


def test_each_output_of_a_visit_is_read(butler_worker: Worker, central_folder: Path) -> None:
    butler_worker.process()
    found = run_there(READ_ALL, str(central_folder / "central"))
    assert found["read"]["preliminary_visit_image"] == "VisitImage"
    assert found["read"]["template_detector"] == "DifferenceImage"
    assert found["read"]["post_isr_image"] == "MaskedImage"
    failed: dict[str, str] = found["failed"]
    assert {error.partition(":")[0] for error in failed.values()} <= NEEDS_FURTHER_PACKAGES, failed


def wcs() -> WCS:
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    made.wcs.crval = [53.123456789012345, -28.012345678901234]
    made.wcs.crpix = [150.1234567890123, 80.9876543210987]
    made.wcs.cd = np.array([[-5.6123456789012345e-5, 1.1234567890123e-6], [1.2345678901234e-6, 5.6e-5]])
    a = np.zeros((4, 4))
    a[2, 0], a[0, 3] = 1.2345678901234567e-7, 1.1e-12
    made.sip = Sip(a, a.T.copy(), None, None, made.wcs.crpix)
    made.wcs.set()
    return made


def exposure(shape: tuple[int, int] = (200, 300)) -> Exposure:
    rng = np.random.default_rng(3)
    image = rng.normal(1000, 30, shape).astype(np.float32)
    variance = (900 + rng.normal(0, 5, shape)).astype(np.float32)
    image[3, 4], image[5, 6], variance[7, 8] = np.nan, 0.0, np.nan
    mask = np.zeros(shape, np.int32)
    for plane in Mask:
        mask[rng.random(shape) < 0.01] |= int(plane)
    y, x = np.mgrid[-10:11, -10:11]
    star = np.exp(-(x**2 + y**2) / 8)
    terms = np.stack([star, 0.05 * x * star, 0.03 * y * star, 0.02 * star, 0.01 * x * y * star, 0.01 * star])
    return Exposure(
        image,
        mask,
        variance,
        wcs(),
        Psf(terms.astype(np.float32), 2, 150.0, 100.0, 150.0),
        PhotoCalib(1.0, 0.01),
        VisitInfo("LSSTCam", 2025060900678, 94, "r_57", "r", 60835.25, 30.0, 53.0, -28.0, 12.0, 1.2),
        {"OBJECT": "field 1", "A KEYWORD THAT IS LONG": 3},
    )


class Exported:
    """A repository of others, to which a worker has copied datasets."""

    def __init__(self, folder: Path, products: dict[str, tuple[str, Any]]) -> None:
        self.root = str(folder / "central")
        Butler.makeRepo(self.root)
        self.butler = Butler.from_config(self.root, writeable=True)
        local = LocalRepository.create(str(folder), self.butler.dimensions, Collections("LSSTCam"))
        refs = []
        for butler in (self.butler, local.butler):
            insert = butler.registry.insertDimensionData
            limits = {"visit_max": 10**15, "exposure_max": 10**15, "detector_max": 300, "class_name": "x"}
            insert("instrument", {"name": "LSSTCam", **limits})
            insert("detector", {"instrument": "LSSTCam", "id": 94, "full_name": "R22_S11"})
            insert("physical_filter", {"instrument": "LSSTCam", "name": "r_57", "band": "r"})
            insert("day_obs", {"instrument": "LSSTCam", "id": 20250609})
            visit = {"instrument": "LSSTCam", "id": 2025060900678, "name": "v", "day_obs": 20250609}
            insert("visit", {**visit, "physical_filter": "r_57"})
        local.butler.collections.register("run")
        for name, (storage_class, product) in products.items():
            dimensions = ("instrument", "visit", "detector")
            kind = DatasetType(name, dimensions, storage_class, universe=local.butler.dimensions)
            local.butler.registry.registerDatasetType(kind)
            data_id = {"instrument": "LSSTCam", "visit": 2025060900678, "detector": 94}
            refs.append(local.butler.put(product, kind, data_id, run="run"))
        there = next(iter(self.butler.get_datastore_roots().values()))
        assert there is not None
        datasets, files = destinations(local, there, refs)
        for source, target in files:
            target.transfer_from(source, transfer="copy")
        self.butler.ingest(*datasets, transfer=None)
        local.close()

    def file(self, name: str) -> str:
        (ref,) = self.butler.query_datasets(name, collections="run")
        return self.butler.getURI(ref).ospath


@pytest.mark.parametrize(
    ("name", "kind"),
    [("preliminary_visit_image", "VisitImage"), ("difference_image", "DifferenceImage")],
)
def test_image_is_the_same_there_and_here(tmp_path: Path, name: str, kind: str) -> None:
    sent = exposure()
    exported = Exported(tmp_path, {name: ("ExposureF", sent)})
    places = [[0.0, 20.0, 150.5, 299.0], [0.0, 180.0, 77.25, 199.0]]
    there = run_there(READ_IMAGE, exported.root, name, str(places))
    here = read_exposure(exported.file(name))

    def array(key: str, kind: str) -> Any:
        return np.frombuffer(base64.b64decode(there[key]), kind)

    assert there["type"] == kind
    assert np.array_equal(array("image", "<f4").reshape(here.shape), here.image, equal_nan=True)
    assert np.array_equal(array("variance", "<f4").reshape(here.shape), here.variance, equal_nan=True)
    assert np.array_equal(here.mask, sent.mask)
    for plane, (field_name, _) in FIELD_PLANES.items():
        set_there = np.frombuffer(base64.b64decode(there["planes"][field_name]), bool).reshape(here.shape)
        assert np.array_equal(set_there, here.has(plane)), plane
    for one in (here.wcs, sent.wcs):
        x, y = one.all_world2pix(*there["sky"], 0, tolerance=1e-12)
        np.testing.assert_allclose([x, y], places, atol=1e-9, rtol=0)
    psfs = array("psf", "<f8").reshape(4, 21, 21)
    assert here.psf is not None
    for stamp, x, y in zip(psfs, *places, strict=True):
        np.testing.assert_allclose(stamp, here.psf.image_at(x, y), atol=1e-6, rtol=0)
    assert there["part"] == [10, 20]
    assert (there["unit"], there["detector"], there["band"]) == ("nJy", "R22_S11", "r")
    assert (there["visit"], there["filter"]) == (2025060900678, "r_57")
    assert here.visit_info == sent.visit_info
    assert here.photo_calib == sent.photo_calib
    assert here.metadata["OBJECT"] == "field 1"


def test_other_products_are_read_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    kernel = MatchingKernel(
        rng.normal(size=(3, 11, 11)), rng.normal(size=(3, 6)), 2, 900.0, 800.0, 1000.0, True
    )
    rows, columns = np.mgrid[0:16, 0:16]
    sky = Background((500 + 3 * rows + np.sin(columns / 3)).astype(np.float32), 256, (4004, 4096))
    exported = Exported(
        tmp_path,
        {
            "difference_kernel": ("MatchingKernel", kernel),
            "preliminary_visit_image_background": ("Background", sky),
            "initial_photoCalib_detector": ("PhotoCalib", PhotoCalib(3.25, 0.1)),
            "single_visit_star": ("ArrowAstropy", Table({"ra": [1.0, 2.0], "n": [3, 4]})),
        },
    )
    there = run_there(READ_PARTS, exported.root)
    np.testing.assert_allclose(there["kernel"], kernel.image_at(700, 1500), atol=1e-12)
    # Between the points of the grid, the field's spline is another than ours.
    np.testing.assert_allclose(there["sky"], sky.image()[::97, ::89], atol=0.06)
    assert (there["factor"], there["unit"]) == (3.25, "nJy / electron")
    assert there["table"] == [[1.0, 3], [2.0, 4]]
    with Butler.from_config(exported.root, collections="run") as butler:

        def ours(name: str, storage_class: str) -> Any:
            (ref,) = butler.query_datasets(name)
            return butler.get(ref, storageClass=storage_class)

        back: MatchingKernel = ours("difference_kernel", "MatchingKernel")
        np.testing.assert_allclose(back.image_at(700, 1500), kernel.image_at(700, 1500), atol=1e-12)
        np.testing.assert_allclose(
            ours("preliminary_visit_image_background", "Background").values, sky.values, rtol=1e-6
        )
        assert ours("initial_photoCalib_detector", "PhotoCalib").njy_per_unit == 3.25


def test_names_in_the_records_exist_elsewhere(butler_worker: Worker, central_folder: Path) -> None:
    butler_worker.process()
    with Butler.from_config(str(central_folder / "central")) as butler:
        refs: list[DatasetRef] = butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)
        recorded = {str(one.formatter) for one in butler._datastore.export(refs)}  # type: ignore[attr-defined]
    assert recorded
    assert not [name for name in recorded if not name.startswith("lsst.")]
