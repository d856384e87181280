from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from prompt_processing.images import Defects, Mask
from prompt_processing.images.fits import read_exposure
from prompt_processing.instruments import RawKey, detector_region, load_camera
from prompt_processing.simulation import Night, build_night, load_truth, plan_visits
from prompt_processing.simulation.templates import areas_to_fill, footprints, sky_map_around

SIZE = (40, 150)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return build_night(
        tmp_path_factory.mktemp("night"), "LSSTCam", [94], n_visits=2, workers=1, miniature=SIZE, n_template=3
    )


def test_pool_holds_a_raw_with_sidecar_and_truth_for_each_visit(night: Night) -> None:
    assert len(night.raws) == 2
    for raw, group in zip(night.raws, night.groups, strict=True):
        key = RawKey.parse(str(raw.relative_to(night.pool)))
        assert key is not None
        assert key.exposure in group["exposures"]
        sidecar = json.loads((night.pool / key.sidecar_key()).read_text())
        assert sidecar["GROUPID"] == group["group"]
        assert load_truth(raw).meta["exposure"]["group"] == group["group"]
        announced = json.loads((night.pool / "LSSTCam" / "groups" / f"{group['group']}.json").read_text())
        assert announced == group


def test_calibrations_are_complete(night: Night) -> None:
    assert {c.dataset_type for c in night.calibrations} == {"bias", "dark", "flat", "defects"}
    for calibration in night.calibrations:
        if calibration.dataset_type == "defects":
            assert Defects.read_fits(calibration.path).boxes.shape[1] == 4
        else:
            assert read_exposure(calibration.path).shape == (300, 320)


def test_templates_cover_every_pixel_of_the_detectors(night: Night) -> None:
    coverage = {(t.tract, t.patch): read_exposure(t.path) for t in night.templates}
    for raw in night.raws:
        truth = load_truth(raw)
        inside = truth[(truth["x"] > 0) & (truth["x"] < 319) & (truth["y"] > 0) & (truth["y"] < 299)]
        covered = np.zeros(len(inside), bool)
        for (tract, patch), coadd in coverage.items():
            height, width = coadd.shape
            x, y = night.sky_map.patch_wcs(tract, patch).all_world2pix(inside["ra"], inside["dec"], 0)
            x, y = np.rint(x).astype(int), np.rint(y).astype(int)
            on = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            covered[on] |= ~coadd.has(Mask.NO_DATA)[y[on], x[on]]
        assert covered.all()


def test_templates_show_the_stars_and_not_the_transients(night: Night) -> None:
    truth = load_truth(night.raws[0])
    stars = truth[(truth["kind"] == "star") & truth["clear"] & (truth["flux"] > 3e3)]
    new = truth[(truth["template_flux"] == 0) & truth["clear"] & (truth["snr"] > 7)]
    distance = np.hypot(
        np.subtract.outer(new["x"], truth["x"]), np.subtract.outer(new["y"], truth["y"])
    ) + np.where(truth["template_flux"] > 500, 0, np.inf)
    new = new[distance.min(axis=1) > 9]
    assert len(new) >= 1
    significance: dict[str, list[float]] = {"star": [], "new": []}
    for template in night.templates:
        coadd = read_exposure(template.path)
        assert coadd.wcs is not None
        for name, sources in (("star", stars), ("new", new)):
            for ra, dec in zip(sources["ra"], sources["dec"], strict=True):
                x, y = (round(float(v)) for v in coadd.wcs.all_world2pix(ra, dec, 0))
                box = coadd.cutout(x, y, 5)
                if not box.has(Mask.NO_DATA).any():
                    pull = box.image.sum() / np.sqrt(box.variance.sum())
                    significance[name].append(float(pull))
    assert min(significance["star"]) > 8
    # In the science image these have 7 or more.
    assert np.median(significance["new"]) < 5


def test_reference_stars_are_on_the_detector(night: Night) -> None:
    stars = night.reference_stars
    assert {"id", "ra", "dec", "r_flux", "r_fluxErr"} <= set(stars.colnames)
    assert len(np.unique(stars["id"])) == len(stars)
    truth = load_truth(night.raws[0])
    assert np.isin(truth["id"][truth["kind"] == "star"], stars["id"]).sum() > 20


def test_a_finished_night_can_be_opened_again(night: Night) -> None:
    again = Night.load(night.root)
    assert again.raws == night.raws
    assert again.sky_map == night.sky_map
    assert again.camera.detector(94).amplifiers == night.camera.detector(94).amplifiers


def test_snaps_of_a_visit_share_its_group(tmp_path: Path) -> None:
    night = build_night(
        tmp_path, "HSC", [50], n_visits=1, workers=1, miniature=(60, 100), snaps=2, n_template=0
    )
    assert len(night.raws) == 2
    assert night.groups[0]["nimages"] == 2
    keys = [RawKey.parse(str(raw.relative_to(night.pool))) for raw in night.raws]
    assert [(key.group, key.snap) for key in keys if key] == [(night.groups[0]["group"], s) for s in (0, 1)]


def test_detectors_far_apart_get_a_tract_each() -> None:
    camera = load_camera("LSSTCam").miniature(64, 250)
    exposures = plan_visits(camera, 2, seed=1)
    chosen = [camera.detector(0), camera.detector(188)]
    regions = footprints(camera, chosen, exposures)
    sky_map = sky_map_around("test", regions, 0.2, 400)
    assert len(sky_map.tracts) == 2
    assert sky_map.patches_per_side < 10
    areas = areas_to_fill(sky_map, regions)
    assert {area.tract for area in areas} == {0, 1}
    for region in regions:
        assert sky_map.find(region)


def test_one_tract_does_for_neighbours() -> None:
    camera = load_camera("LSSTCam")
    planned = plan_visits(camera, 1, seed=1)[0]
    regions = [
        detector_region(camera, camera.detector(n), planned.ra, planned.dec, planned.rotation)
        for n in (6, 36)
    ]
    assert len(sky_map_around("test", regions, 0.2, 2000).tracts) == 1


def test_reference_table_is_plain_parquet(night: Night) -> None:
    table = Table.read(night.root / "content" / "reference_stars.parquet", format="parquet")
    assert len(table) == len(night.reference_stars)
