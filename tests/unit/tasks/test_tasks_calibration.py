"""Signature removal and calibration as pipeline tasks, on a simulated raw."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from prompt_processing.imaging.errors import NoReferenceStarsError
from prompt_processing.instruments import Camera, detector_centre, load_camera, translate
from prompt_processing.simulation.calibrations import (
    CalibrationProducts,
    calibration_products,
    measured_camera,
)
from prompt_processing.simulation.electronics import with_drawn_electronics
from prompt_processing.simulation.planning import PlannedExposure, plan_visits
from prompt_processing.simulation.raw_image import RawImage, simulate_raw
from prompt_processing.simulation.reference import reference_stars
from prompt_processing.simulation.sensor import Sensor
from prompt_processing.simulation.sky import SkyCatalogue, SkyDensity
from prompt_processing.tasks.calibrate_image import CalibrateImageConfig, CalibrateImageTask
from prompt_processing.tasks.isr import IsrConfig, IsrConnections, IsrTask

SEED = 5


@dataclass
class Shard:
    """What a deferred handle of a reference shard does."""

    table: Table

    def get(self) -> Table:
        return self.table


@dataclass
class Night:
    camera: Camera
    planned: PlannedExposure
    raw: RawImage
    calibrations: CalibrationProducts
    reference: Table

    @property
    def calibration_inputs(self) -> dict[str, Any]:
        return {
            "camera": self.camera,
            "bias": self.calibrations.bias,
            "dark": self.calibrations.dark,
            "flat": next(iter(self.calibrations.flats.values())),
            "defects": self.calibrations.defects,
        }

    def shards(self) -> list[Shard]:
        """The catalogue in two parts."""
        half = len(self.reference) // 2
        return [Shard(self.reference[:half]), Shard(self.reference[half:])]


@pytest.fixture(scope="module", params=[("LSSTCam", 94), ("LSSTCam", 0), ("HSC", 50)])
def night(request: pytest.FixtureRequest) -> Night:
    name, number = request.param
    full = with_drawn_electronics(load_camera(name))
    camera = full.miniature(125, 500) if name == "LSSTCam" else full.miniature(250, 1000)
    detector = camera.detector(number)
    planned = plan_visits(camera, 1, SEED)[0]
    sky = SkyCatalogue(SEED, SkyDensity(stars=25.0), epoch_mjd=planned.mid_mjd_tai)
    sensor = Sensor.make(detector, SEED)
    centre = detector_centre(camera, detector, planned.ra, planned.dec, planned.rotation)
    return Night(
        camera=measured_camera(camera, SEED),
        planned=planned,
        raw=simulate_raw(sky, camera, sensor, planned, SEED),
        calibrations=calibration_products(sensor, {planned.physical_filter: planned.band}, SEED),
        reference=reference_stars(sky, *centre, 0.06, SEED),
    )


def test_raw_becomes_an_image_of_the_sky_with_the_visit_s_identity(night: Night) -> None:
    image = IsrTask().run(raw=night.raw.frame, **night.calibration_inputs).image
    truth = json.loads(night.raw.truth.meta["exposure_json"])
    # The truth is the sky at the boresight; its slope matters at the field's edge.
    if night.raw.frame.detector != 0:
        assert np.median(image.image) == pytest.approx(truth["sky_electrons"], rel=0.05)
    info = image.visit_info
    assert (info.exposure, info.detector) == (night.planned.exposure, night.raw.frame.detector)
    assert info.band == night.planned.band
    assert info.exposure_time == night.planned.exposure_time
    said = translate(night.raw.frame.header)
    assert (info.observation_reason, info.target_name) == (said.reason, said.target_name)
    assert info.mid_mjd_tai == pytest.approx(night.planned.mid_mjd_tai, abs=1e-5)
    assert image.wcs is not None


def test_calibrated_image_agrees_with_the_truth(night: Night) -> None:
    image = IsrTask().run(raw=night.raw.frame, **night.calibration_inputs).image
    task = CalibrateImageTask()
    result = task.run(exposures=[image], reference_stars=night.shards())
    truth = json.loads(night.raw.truth.meta["exposure_json"])
    assert result.photo_calib.zero_point == pytest.approx(truth["zero_point"], abs=0.02)
    stars = result.stars[
        (result.stars["ref_id"] >= 0) & (result.stars["snr"] > 30) & ~result.stars["saturated"]
    ]
    by_id = {int(row["id"]): row for row in night.raw.truth}
    known = [by_id[int(star["ref_id"])] for star in stars]
    east = (stars["ra"] - [row["ra"] for row in known]) * np.cos(np.radians(stars["dec"])) * 3.6e6
    north = (stars["dec"] - [row["dec"] for row in known]) * 3.6e6
    assert len(stars) > 20
    assert np.sqrt(np.median(east**2 + north**2)) < 30
    assert np.median(stars["psfFlux"] / [row["flux"] for row in known]) == pytest.approx(1.0, abs=0.01)
    assert task.metadata["zero_point_mag"] == pytest.approx(truth["zero_point"], abs=0.02)
    assert task.metadata["seeing_fwhm_arcsec"] == pytest.approx(truth["fwhm_arcsec"], rel=0.05)


def test_old_catalogues_are_moved_and_converted_to_the_filter(night: Night) -> None:
    image = IsrTask().run(raw=night.raw.frame, **night.calibration_inputs).image
    years = 20.0
    old = night.reference.copy()
    old["pm_ra"], old["pm_dec"] = np.full(len(old), 40.0), np.full(len(old), -30.0)
    old["epoch"] = np.full(len(old), night.planned.mid_mjd_tai - years * 365.25)
    old["ra"] -= 40.0 * years / 3.6e6 / np.cos(np.radians(old["dec"]))
    old["dec"] += 30.0 * years / 3.6e6
    config = CalibrateImageConfig()
    band = night.planned.band
    config.colourTerms = {night.planned.physical_filter: f"{band} + 0.25"}
    shifted = CalibrateImageTask(config=config).run(exposures=[image], reference_stars=[Shard(old)])
    image = IsrTask().run(raw=night.raw.frame, **night.calibration_inputs).image
    usual = CalibrateImageTask().run(exposures=[image], reference_stars=night.shards())
    assert shifted.photo_calib.zero_point == pytest.approx(usual.photo_calib.zero_point + 0.25, abs=1e-3)
    height, width = image.shape
    for result in (shifted, usual):
        assert result.image.wcs is not None
    there = shifted.image.wcs.pixel_to_world(width / 2, height / 2)
    here = usual.image.wcs.pixel_to_world(width / 2, height / 2)
    assert there.separation(here).mas < 3


def test_header_without_rotation_gives_an_image_without_wcs(
    night: Night,
) -> None:
    raw = night.raw.frame
    header = {k: v for k, v in raw.header.items() if k not in ("ROTPA", "INST-PA")}
    bare = type(raw)(header, raw.instrument, raw.detector, raw.segments)
    image = IsrTask().run(raw=bare, **night.calibration_inputs).image
    assert image.wcs is None


def test_corrections_switched_off_need_no_calibrations(night: Night) -> None:
    config = IsrConfig()
    config.doBias = config.doDark = config.doFlat = config.doDefect = False
    config.doLinearity = config.doCrosstalk = config.doFringe = config.doBrighterFatter = False
    config.doGains = config.doDeferredCharge = False
    connections = IsrConnections(config=config)
    assert set(connections.prerequisiteInputs) == {"camera"}
    image = IsrTask(config=config).run(raw=night.raw.frame, camera=night.camera).image
    assert image.metadata["LSST ISR FLAT APPLIED"] is False


def test_calibrations_that_not_every_camera_has_are_never_required() -> None:
    connections = IsrConnections(config=IsrConfig())
    required = {name for name in connections.prerequisiteInputs if getattr(connections, name).minimum}
    assert required == {"camera", "bias", "dark", "flat", "defects"}
    config = IsrConfig()
    config.allowMissing = True
    connections = IsrConnections(config=config)
    required = {name for name in connections.prerequisiteInputs if getattr(connections, name).minimum}
    assert required == {"camera"}


def test_connections_have_the_field_s_names() -> None:
    connections = IsrConnections(config=IsrConfig())
    assert connections.raw.name == "raw"
    assert connections.image.name == "post_isr_image"
    calibrate = CalibrateImageTask.ConfigClass.ConnectionsClass(config=CalibrateImageTask.ConfigClass())
    names = {getattr(calibrate, name).name for name in calibrate.outputs}
    assert names == {
        "preliminary_visit_image",
        "preliminary_visit_image_background",
        "single_visit_star",
        "initial_photoCalib_detector",
    }


def test_no_reference_shard_is_an_algorithm_error(night: Night) -> None:
    image = IsrTask().run(raw=night.raw.frame, **night.calibration_inputs).image
    with pytest.raises(NoReferenceStarsError):
        CalibrateImageTask().run(exposures=[image], reference_stars=[])
