from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prompt_processing.instruments import (
    RawKey,
    detector_wcs,
    load_camera,
    load_instrument,
    parse_sidecar,
    read_header,
    read_raw,
    translate,
)
from prompt_processing.simulation import (
    RawImage,
    Sensor,
    SkyCatalogue,
    load_truth,
    plan_visits,
    simulate_raw,
)
from prompt_processing.simulation.planning import density_for

CAMERAS = [
    ("LSSTCam", 94, (64, 250)),
    ("LSSTCam", 0, (64, 250)),
    ("LATISS", 0, (64, 250)),
    ("HSC", 50, (128, 400)),
]


def raw_of(instrument: str, number: int, size: tuple[int, int], visit: int = 0) -> RawImage:
    camera = load_camera(instrument).miniature(*size)
    exposures = plan_visits(camera, 2, seed=1)
    detector = camera.detector(number)
    sky = SkyCatalogue(1, density_for(camera, detector, exposures[0].conditions), exposures[0].mid_mjd_tai)
    sensor = Sensor.make(detector, 1, load_instrument(camera.name).document.raw)
    return simulate_raw(sky, camera, sensor, exposures[visit], seed=1)


@pytest.mark.parametrize(("instrument", "number", "size"), CAMERAS)
def test_file_says_what_was_announced(
    instrument: str, number: int, size: tuple[int, int], tmp_path: Path
) -> None:
    raw = raw_of(instrument, number, size)
    planned = plan_visits(load_camera(instrument), 2, seed=1)[0]
    path = raw.write(tmp_path)
    key = RawKey.parse(str(path.relative_to(tmp_path)))
    assert key is not None
    observation = translate(read_header(path), key.key)
    assert (observation.instrument, observation.detector) == (instrument, number)
    assert observation.exposure_id == planned.exposure == key.exposure
    assert observation.group == planned.group
    assert observation.physical_filter == planned.physical_filter
    assert observation.band == "r"
    assert observation.rotation == pytest.approx(planned.rotation, abs=1e-6)
    assert observation.ra == pytest.approx(planned.ra, abs=2e-6)
    assert observation.dec == pytest.approx(planned.dec, abs=2e-6)
    assert observation.exposure_time == planned.exposure_time
    assert abs((observation.begin - planned.begin).sec) < 0.01
    sidecar = translate(parse_sidecar((tmp_path / key.sidecar_key()).read_bytes()), key.key)
    assert (sidecar.exposure_id, sidecar.group, sidecar.detector) == (planned.exposure, planned.group, number)
    frame = read_raw(path, instrument=instrument, detector=number)
    for written, read in zip(raw.frame.segments, frame.segments, strict=True):
        assert np.array_equal(written.data, read.data)
        assert written.target == read.target


@pytest.mark.parametrize(("instrument", "number", "size"), CAMERAS)
def test_truth_is_where_the_light_is(instrument: str, number: int, size: tuple[int, int]) -> None:
    raw = raw_of(instrument, number, size)
    height, width = raw.frame.shape
    image = np.zeros((height, width))
    for segment in raw.frame.segments:
        counts = segment.oriented(segment.data[segment.data_section].astype(float))
        image[segment.target] = counts - np.median(counts)
    stars = raw.truth[(raw.truth["kind"] == "star") & raw.truth["clear"]]
    stars.sort("flux", reverse=True)
    assert len(stars) > 30
    offsets = []
    for star in stars[:20]:
        column, row = round(star["x"]), round(star["y"])
        box = image[row - 8 : row + 9, column - 8 : column + 9]
        if box.shape != (17, 17):
            continue
        weight = np.clip(box - np.median(box), 0, None) * (box > 0.3 * box.max())
        rows, columns = np.mgrid[-8:9, -8:9]
        dx, dy = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
        offsets.append(np.hypot(column + dx - star["x"], row + dy - star["y"]))
    assert np.median(offsets) < 0.4


def test_true_pointing_differs_from_the_announced_by_arcseconds() -> None:
    camera = load_camera("LSSTCam")
    planned = plan_visits(camera, 1, seed=1)[0]
    ra, dec, rotation = planned.true_pointing
    east, north = (ra - planned.ra) * 3600 * np.cos(np.radians(dec)), (dec - planned.dec) * 3600
    assert 0.1 < np.hypot(east, north) < 8
    assert 0 < abs(rotation - planned.rotation) < 0.1
    detector = camera.detector(94)
    true = detector_wcs(camera, detector, ra, dec, rotation).all_pix2world([[2000, 2000]], 0)[0]
    announced = detector_wcs(camera, detector, planned.ra, planned.dec, planned.rotation)
    assert 0.1 < 3600 * np.hypot(*(true - announced.all_pix2world([[2000, 2000]], 0)[0])) < 10


def test_same_seed_gives_the_same_raw() -> None:
    first, again = (raw_of("LATISS", 0, (64, 100)) for _ in range(2))
    for one, other in zip(first.frame.segments, again.frame.segments, strict=True):
        assert np.array_equal(one.data, other.data)


def test_sky_recurs_from_visit_to_visit_but_not_the_noise() -> None:
    first, second = (raw_of("LSSTCam", 94, (64, 250), visit) for visit in (0, 1))
    stars = [set(raw.truth["id"][raw.truth["kind"] == "star"]) for raw in (first, second)]
    # The dither is a good part of such a small detector.
    assert len(stars[0] & stars[1]) > 0.3 * len(stars[0])
    assert not np.array_equal(first.frame.segments[0].data, second.frame.segments[0].data)


def test_truth_survives_the_file(tmp_path: Path) -> None:
    raw = raw_of("LATISS", 0, (64, 250))
    truth = load_truth(raw.write(tmp_path))
    assert len(truth) == len(raw.truth)
    assert np.array_equal(truth["snr"], raw.truth["snr"])
    assert truth.meta["exposure"]["zero_point"] > 20
    new = truth[(truth["template_flux"] == 0) & truth["clear"]]
    assert len(new) >= 5
    assert set(new["kind"]) <= {"transient", "supernova", "mover"}
    variables = truth[truth["kind"] == "variable"]
    assert np.any(variables["delta_flux"] != 0)
