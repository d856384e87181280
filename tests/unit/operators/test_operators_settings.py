import pytest

from prompt_delivery.release.recorded_versions import installed_schemas
from prompt_delivery.release.stack_label import StackLabel
from prompt_processing.operators.settings_in_force import settings_in_force
from prompt_processing.settings.worker import Settings
from prompt_processing.telemetry.running_version import RunningVersion


@pytest.fixture
def environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    good = {
        "RUBIN_INSTRUMENT": "LSSTCam",
        "SKYMAP": "sky",
        "CENTRAL_REPO": "postgresql://user:hush-repo@host/db",
        "IMAGE_BUCKET": "raws",
        "KAFKA_CLUSTER": "kafka:9092",
        "BUCKET_TOPIC": "notices",
        "PREPROCESSING_PIPELINES_CONFIG": "None",
        "MAIN_PIPELINES_CONFIG": "- pipelines: [/a/ApPipe.yaml]",
        "CONFIG_APDB": "/apdb.yaml",
        "SASQUATCH_TOKEN": "hush-token",
    }
    for name, value in good.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_settings_are_told_with_where_they_come_from_and_without_secrets(environment):
    settings, problems = settings_in_force()
    assert problems == []
    by_name = {one.name: one for one in settings}
    assert by_name["CENTRAL_REPO"].value == "postgresql://user:********@host/db"
    assert by_name["SASQUATCH_TOKEN"].value == "(set, not shown)"
    assert by_name["AP_KAFKA_SERVER"].value == "(not set)"
    assert by_name["MAIN_PIPELINES_CONFIG"].value == "/a/ApPipe.yaml"
    assert (by_name["IMAGE_TIMEOUT"].value, by_name["IMAGE_TIMEOUT"].source) == ("20.0", "default")
    assert by_name["SKYMAP"].source == "environment"
    assert "hush" not in str(settings)


def test_what_is_wrong_with_settings_is_told(environment):
    environment.setenv("IMAGE_TIMEOUT", "soon")
    settings, (problem,) = settings_in_force()
    assert settings == []
    assert problem.startswith("IMAGE_TIMEOUT: ")


def test_the_version_is_that_of_the_release_notes():
    version = RunningVersion.of_this_process("pipelines-0000000-config-1111111")
    assert version.schemas == installed_schemas()
    found = version.as_dict()
    assert version.middleware == StackLabel.of_version(found["distributions"]["lsst-daf-butler"]).name
    assert "pipelines-0000000-config-1111111" in str(version)
