"""From announcement to alerts on inputs that the Rubin stack has written."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any, cast

import fastavro
import numpy as np
import pytest
import stack_repository as stack
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time
from lsst.alert.packet import Schema
from lsst.daf.butler import Butler
from lsst.dax.apdb.sql import ApdbSql
from lsst.resources import ResourcePath

from prompt_processing.activator.services.visit_rules import VisitRules
from prompt_processing.activator.services.workspace import Repositories, Workspace
from prompt_processing.alerts.files import kept_files, read_alerts
from prompt_processing.butler.field_types import FIELD_FORMATTER
from prompt_processing.butler.formatters import read_image
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.images.fits import read_exposure
from prompt_processing.repository.central import make_central_repository
from prompt_processing.repository.content import simulated_content
from prompt_processing.settings.worker import Settings
from prompt_processing.simulation.night import Night, build_night

pytestmark = pytest.mark.integration

REGISTERED = {
    "post_isr_image": "Exposure",
    "dia_source_unfiltered": "SourceCatalog",
    "rejected_dia_source": "SourceCatalog",
    "dia_source_reliability": "Catalog",
    "apdb_marker": "Config",
}
"""As in the registry that the reference stack made."""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return build_night(
        tmp_path_factory.mktemp("night"), "LSSTCam", [94], 1, seed=4, workers=1, miniature=(80, 256)
    )


def alerts_in(folder: Path) -> list[dict[str, Any]]:
    schema = Schema.from_file().definition
    return [
        cast("dict[str, Any]", fastavro.schemaless_reader(io.BytesIO(packet.message[5:]), schema))
        for path in kept_files(folder)
        for packet in read_alerts(path)
    ]


@pytest.fixture
def settings(night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    pipelines = {
        stem: f"$PROMPT_PROCESSING_DIR/pipelines/LSSTCam/{stem}.yaml" for stem in ("Preprocessing", "ApPipe")
    }
    config = tmp_path / "apdb.yaml"
    ApdbSql.init_database(db_url=f"sqlite:///{tmp_path}/apdb.db").save(str(config))
    monkeypatch.setenv("CONFIG_APDB", str(config))
    monkeypatch.setenv("ALERT_KEEP_DIR", str(tmp_path / "kept"))
    monkeypatch.delenv("AP_KAFKA_SERVER", raising=False)
    monkeypatch.delenv("MP_SKY_URL", raising=False)
    settings = Settings.load(
        rubin_instrument="LSSTCam",
        skymap=night.sky_map.name,
        central_repo=str(tmp_path / "central"),
        local_repos=str(tmp_path),
        image_bucket="unused",
        kafka_cluster="unused",
        bucket_topic="unused",
        dataset_type_names="{reference_stars: the_monster_20250219}",
        preprocessing_pipelines_config=f"- pipelines: [{pipelines['Preprocessing']}]",
        main_pipelines_config=f"- pipelines: [{pipelines['ApPipe']}]",
    )
    content = simulated_content(night)
    paths = [*settings.preprocessing_pipelines_config.paths, *settings.main_pipelines_config.paths]
    make_central_repository(str(tmp_path / "central"), night.camera, content, pipelines=paths)
    stack.as_the_stack_has_it(tmp_path, REGISTERED)
    return settings


def process(settings: Settings, night: Night) -> Workspace:
    """Process the visit from preload to export."""
    (group,) = night.groups
    visit = FannedOutVisit.parse(
        {
            "salIndex": 1,
            "groupId": group["group"],
            "coordinateSystem": 2,
            "position": [group["ra"], group["dec"]],
            "startTime": Time(group["begin"], scale="tai").unix_tai,
            "rotationSystem": 2,
            "cameraAngle": group["rotation"],
            "filters": group["physical_filter"],
            "duration": group["duration"],
            "nimages": group["nimages"],
            "instrument": group["instrument"],
            "survey": group["survey"],
            "private_sndStamp": Time(group["begin"], scale="tai").unix_tai - 20,
            "detector": 94,
        }
    )
    repositories = Repositories.open(settings, night.camera)
    try:
        rules = VisitRules.from_settings(settings, night.camera)
        workspace = Workspace(repositories, settings, visit, rules.pipelines(visit))
        workspace.preload()
        workspace.run_preprocessing()
        workspace.ingest([ResourcePath(str(path)) for path in night.raws])
        workspace.run_pipeline()
        workspace.export()
        return workspace
    finally:
        repositories.close()


def test_stars_that_flare_are_alerted_with_the_stacks_inputs(
    settings: Settings, night: Night, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        workspace = process(settings, night)
    assert "pretrainedModelPackage holds a model of another program (architecture.py" in caplog.text
    for name in (
        "bias",
        "dark",
        "flat",
        "defects",
        "camera",
        "skyMap",
        "the_monster_20250219",
        "ptc",
        "cti",
        "crosstalk",
    ):
        assert workspace.preloaded.count(name) >= 1, name
    assert workspace.preloaded.count("template_coadd") >= 4

    alerts = alerts_in(tmp_path / "kept")
    (raw,) = night.raws
    truth = Table.read(raw.with_suffix(".truth.parquet"))
    changed = truth[truth["delta_flux"] != 0]
    # In the wings of a saturated star, pixels are left out or have an error of their own.
    saturated = truth[~truth["clear"] & (truth["flux"] > 1e6)]
    apart = np.hypot(*(np.subtract.outer(truth[axis], saturated[axis]) for axis in ("x", "y")))
    flares = truth[(truth["snr"] > 15) & truth["clear"] & (apart > 15).all(axis=1)]
    assert len(flares) >= 4
    sources = [alert["diaSource"] for alert in alerts]
    places = SkyCoord([one["ra"] for one in sources], [one["dec"] for one in sources], unit="deg")
    nearest, distance, _ = SkyCoord(flares["ra"], flares["dec"], unit="deg").match_to_catalog_sky(places)
    assert distance.arcsec.max() < 0.3
    for flare, number in zip(flares, nearest, strict=True):
        found = sources[number]
        assert abs(found["psfFlux"] - flare["delta_flux"]) < 5 * found["psfFluxErr"]
    _, distance, _ = places.match_to_catalog_sky(SkyCoord(changed["ra"], changed["dec"], unit="deg"))
    assert np.count_nonzero(distance.arcsec > 1.0) <= 2

    with Butler.from_config(settings.central_repo) as butler:
        outputs = {
            ref.datasetType.name: ref
            for ref in butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)
        }
        image = butler.get(outputs["template_detector"], storageClass="ExposureF")
        # The stack's PSF, and not one that was measured from few stars.
        expected = read_exposure(night.templates[0].path).psf
        assert expected is not None
        assert image.psf.fwhm_at() == pytest.approx(expected.fwhm_at(), rel=0.01)
        # The stack's camera has others: those that are used are of ptc and gain_correction.
        metadata = read_image(butler, outputs["post_isr_image"]).metadata
        gains = {name.upper(): value for name, value in metadata.items()}
        for amplifier in night.camera.detector(94).amplifiers:
            assert gains[f"LSST ISR GAIN {amplifier.name.upper()}"] == pytest.approx(amplifier.gain, rel=1e-5)
        done = butler.get(outputs["isr_metadata"])["isr"]
        for name in ("ptc", "gain_correction", "linearity", "crosstalk", "deferred_charge"):
            assert done[f"{name}_applied"]
        assert not done["brighter_fatter_applied"]
        for name in ("template_detector", "post_isr_image"):
            (dataset,) = butler._datastore.export([outputs[name]])
            assert dataset.formatter == FIELD_FORMATTER
    assert {f"prompt_{name}" for name in REGISTERED if name != "post_isr_image"} <= outputs.keys()
    assert outputs["post_isr_image"].datasetType.storageClass_name == "Exposure"
