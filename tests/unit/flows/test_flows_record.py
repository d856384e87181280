"""Each run leaves a record in a folder or a bucket, without a Prefect server."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from prompt_processing.flows.deploy import read_schedules
from prompt_processing.flows.errors import FlowError
from prompt_processing.flows.flow import flow
from prompt_processing.flows.record import run_recorded
from prompt_processing.flows.run import FlowRun, Silent
from prompt_processing.flows.settings import FlowSettings
from prompt_processing.settings.environment import SettingsError


@flow
def weigh_nights(run: FlowRun, *, nights: tuple[int, ...]) -> None:
    """Weigh some nights.

    Parameters
    ----------
    run
        The run.
    nights
        The nights.
    """
    run.table("Weights", [{"night": night, "folder": Path("x")} for night in nights])
    if len(nights) > 1:
        raise FlowError("one at a time")


def settings_for(folder: Path, **more: str) -> FlowSettings:
    return FlowSettings.load(wm_dest_folder=folder / "records", flow_work=folder / "work", **more)


def test_record_has_parameters_tables_and_the_error(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    run_recorded(weigh_nights, {"nights": (1,)}, settings, Silent())
    with pytest.raises(FlowError, match="one at a time"):
        run_recorded(weigh_nights, {"nights": (1, 2)}, settings, Silent())
    run_recorded(weigh_nights, {"nights": (3,)}, settings, Silent(), dry_run=True)
    good, bad = (
        json.loads(path.read_text()) for path in sorted((tmp_path / "records" / "weigh-nights").iterdir())
    )
    assert good["tables"] == [{"title": "Weights", "rows": [{"night": 1, "folder": "x"}]}]
    assert good["parameters"] == {"nights": [1]}
    assert (good["error"], bad["error"]) == ("", "FlowError: one at a time")
    assert len(bad["tables"][0]["rows"]) == 2


def test_record_goes_to_the_bucket_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "WM_DEST_TYPE": "s3",
        "WM_S3_DEST_BUCKET": "days/flows",
        "WM_S3_DEST_KEY": "a key",
        "WM_S3_DEST_SECRET": "a secret",
        "WM_S3_DEST_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("S3_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="days")
        run_recorded(weigh_nights, {"nights": (1,)}, settings_for(tmp_path), Silent())
        (found,) = client.list_objects_v2(Bucket="days")["Contents"]
        assert found["Key"].startswith("flows/weigh-nights/")
        monkeypatch.setenv("WM_S3_DEST_BUCKET", "absent")
        with pytest.raises(FlowError, match="WM_S3_DEST_URL"):
            run_recorded(weigh_nights, {"nights": (1,)}, settings_for(tmp_path), Silent())
        # A flow that fails says why, whatever becomes of its record.
        with pytest.raises(FlowError, match="one at a time"):
            run_recorded(weigh_nights, {"nights": (1, 2)}, settings_for(tmp_path), Silent())
    assert not (tmp_path / "records").exists()


def test_bucket_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WM_DEST_TYPE", "s3")
    with pytest.raises(SettingsError, match="WM_S3_DEST_BUCKET: not set, but WM_DEST_TYPE=s3 is"):
        FlowSettings.load()


def test_example_of_schedules_has_flows_and_parameters_that_exist() -> None:
    found = read_schedules(Path(__file__).parents[3] / "flows" / "prefect" / "schedules.yaml")
    assert set(found) == {"build-calibrations", "build-templates"}
    assert found["build-calibrations"].cron
    assert not found["build-templates"].cron
