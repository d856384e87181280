"""Settings are read from the environment, and all that is wrong is told at once."""

import numpy as np
import pytest
from astropy.io import fits

from prompt_processing.activator.factory import ProcessContext
from prompt_processing.domain.visit import NextVisit
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.pipelines import parse_selection
from prompt_processing.settings.worker import Settings
from prompt_processing.telemetry.credentials import CredentialMask

REQUIRED = {
    "RUBIN_INSTRUMENT": "LSSTCam",
    "SKYMAP": "lsst_cells_v1",
    "CENTRAL_REPO": "s3://bucket/repo",
    "IMAGE_BUCKET": "raws",
    "KAFKA_CLUSTER": "kafka:9092",
    "BUCKET_TOPIC": "notices",
    "CONFIG_APDB": "s3://bucket/apdb.yaml",
    "PREPROCESSING_PIPELINES_CONFIG": "- pipelines: [a/Preprocessing.yaml]",
    "MAIN_PIPELINES_CONFIG": "- {survey: wide, pipelines: [a/ApPipe.yaml]}\n- pipelines: []",
}


@pytest.fixture
def environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def set_all(**changes):
        for name, value in {**REQUIRED, **changes}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    set_all()
    return set_all


def problems():
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    return raised.value.problems


def test_defaults_are_those_of_the_contract(environment):
    settings = Settings.load()
    assert settings.input_repo == "s3://bucket/repo"
    assert settings.bucket_notification_kafka_offset_reset == "latest"
    assert (settings.image_timeout, settings.preload_padding, settings.repo_retry_delay) == (20.0, 30.0, 30.0)
    assert (settings.local_repos, settings.local_repo_cache_size) == ("/tmp", 3)
    assert settings.debug_export_outputs
    assert settings.export_type_regexp == (".*",)
    assert (settings.worker_restart_freq, settings.message_expiration) == (0, 3600.0)
    assert settings.daf_butler_sasquatch_namespace == "lsst.prompt"
    assert not settings.use_kafka_butler_writer


def test_everything_that_is_missing_is_told_at_once(environment):
    environment(**dict.fromkeys(REQUIRED))
    assert set(problems()) == set(REQUIRED)


def test_an_empty_variable_is_one_that_is_not_set(environment):
    environment(SKYMAP="", IMAGE_TIMEOUT="")
    assert problems() == {"SKYMAP": "not set"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUBIN_INSTRUMENT", "NoSuchCamera"),
        ("IMAGE_TIMEOUT", "soon"),
        ("IMAGE_TIMEOUT", "-1"),
        ("IMAGE_TIMEOUT", "nan"),
        ("WORKER_TIMEOUT", "0"),
        ("LOCAL_REPO_CACHE_SIZE", "2.5"),
        ("BUCKET_NOTIFICATION_KAFKA_OFFSET_RESET", "newest"),
        ("EXPORT_TYPE_REGEXP", "- '['"),
        ("EXPORT_TYPE_REGEXP", "a: b"),
        ("SERVICE_LOG_LEVELS", "lsst"),
        ("SERVICE_LOG_LEVELS", "lsst=LOUD"),
        ("USE_KAFKA_BUTLER_WRITER", "perhaps"),
        ("MAIN_PIPELINES_CONFIG", "- {survey: wide"),
        ("MAIN_PIPELINES_CONFIG", "- {pipelines: [a.yaml], moon: full}"),
        ("MAIN_PIPELINES_CONFIG", "- {survey: wide}"),
        ("MAIN_PIPELINES_CONFIG", "- {pipelines: [x/A.yaml, y/A.yaml]}"),
        ("MAIN_PIPELINES_CONFIG", "- {pipelines: ['${NOT_SET_ANYWHERE}/A.yaml']}"),
        ("MAIN_PIPELINES_CONFIG", "- {pipelines: [A.yaml], binary-map: /no/such/map.fits}"),
        ("MAIN_PIPELINES_CONFIG", "- {pipelines: [A.yaml], ra: {min: 1}}"),
        ("PREPROCESSING_PIPELINES_CONFIG", "7"),
    ],
)
def test_a_malformed_setting_is_told_by_name(environment, name, value):
    environment(**{name: value})
    assert set(problems()) == {name}


def test_all_kinds_of_problems_are_told_together(environment):
    environment(
        SKYMAP=None, IMAGE_TIMEOUT="soon", USE_KAFKA_BUTLER_WRITER="1", AP_KAFKA_PRODUCER_PASSWORD="x"
    )
    assert set(problems()) == {
        "SKYMAP",
        "IMAGE_TIMEOUT",
        "BUTLER_WRITER_KAFKA_CLUSTER",
        "BUTLER_WRITER_KAFKA_TOPIC",
        "AP_KAFKA_PRODUCER_USERNAME",
    }


def test_credentials_are_shown_nowhere(environment, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-s3")
    environment(
        SASQUATCH_TOKEN="hush-token",
        BUTLER_WRITER_KAFKA_USERNAME="u",
        BUTLER_WRITER_KAFKA_PASSWORD="hush-kafka",
    )
    settings = Settings.load()
    assert "hush" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert {"hush-token", "hush-kafka"} <= set(settings.secrets)
    assert "hush" not in CredentialMask(settings.secrets).text("hush-token hush-kafka hush-s3")
    environment(SASQUATCH_TOKEN="hush-token", IMAGE_TIMEOUT="hush-soon")
    assert "hush" not in str(problems())


def test_log_levels_are_read(environment):
    environment(SERVICE_LOG_LEVELS="timer.lsst.activator=DEBUG .=info lsst.daf.butler=VERBOSE")
    assert Settings.load().service_log_levels == {
        "timer.lsst.activator": "DEBUG",
        ".": "INFO",
        "lsst.daf.butler": "VERBOSE",
    }


@pytest.mark.parametrize(
    "text", ["None", "[]", "null", "- pipelines: None", "- pipelines: []", "- pipelines:"]
)
def test_nothing_can_be_written_in_many_ways(environment, text):
    environment(MAIN_PIPELINES_CONFIG=text)
    assert Settings.load().main_pipelines_config.paths == ()


def test_environment_variables_in_paths_are_expanded(environment, monkeypatch):
    monkeypatch.setenv("PIPELINES", "/opt/pipelines")
    environment(MAIN_PIPELINES_CONFIG="- {pipelines: ['$PIPELINES/ApPipe.yaml', '${PIPELINES}/Isr.yaml']}")
    assert Settings.load().main_pipelines_config.paths == (
        "/opt/pipelines/ApPipe.yaml",
        "/opt/pipelines/Isr.yaml",
    )


@pytest.mark.parametrize("explicit", [False, True])
def test_a_binary_map_decides_by_position(tmp_path, explicit):
    values = np.zeros(12 * 4**2, np.uint8)
    values[:64] = 1
    values[0] = 16
    pixels = np.arange(values.size) if not explicit else np.arange(100)
    columns = [fits.Column("VALUE", "B", array=values[pixels])]
    if explicit:
        columns.insert(0, fits.Column("PIXEL", "J", array=pixels))
    table = fits.BinTableHDU.from_columns(columns)
    table.header["NSIDE"], table.header["ORDERING"] = 4, "RING"
    table.header["INDXSCHM"] = "EXPLICIT" if explicit else "IMPLICIT"
    path = tmp_path / "map.fits"
    table.writeto(path)
    selection = parse_selection(
        f"- {{pipelines: [in.yaml], binary-map: {path}, coord-type: boresight}}\n- pipelines: [out.yaml]"
    )

    def chosen(ra, dec):
        visit = NextVisit.parse(
            {
                "salIndex": 1,
                "groupId": "g",
                "coordinateSystem": 2,
                "position": [ra, dec],
                "rotationSystem": 2,
                "duration": 1.0,
                "nimages": 1,
                "private_sndStamp": 0.0,
            }
        )
        return selection.select(visit, lambda: None)

    assert chosen(120.0, 40.0) == ("in.yaml",)
    assert chosen(120.0, -60.0) == ("out.yaml",)
    # The first pixel of the ring order touches the north pole; nobody has classified it.
    assert chosen(45.0, 85.0) == ("out.yaml",)


@pytest.mark.parametrize("spelling", ["BORESIGHT", "Boresight", "boresight"])
def test_the_case_of_coord_type_does_not_matter(spelling):
    (node,) = parse_selection(f"- {{pipelines: [in.yaml], coord-type: {spelling}}}")
    assert node.coordinate_type == "boresight"


@pytest.mark.parametrize("wrong", ["pupil", "1", "[boresight]"])
def test_another_coord_type_is_refused(wrong):
    with pytest.raises(ValueError, match="coord-type"):
        parse_selection(f"- {{pipelines: [in.yaml], coord-type: {wrong}}}")


def test_address_of_the_satellite_service_is_a_url(environment):
    environment(SATTLE_URI_BASE="http://sattle:9999", AP_KAFKA_SERVER="kafka:9092", AP_KAFKA_TOPIC="alerts")
    assert Settings.load().sattle_uri_base == "http://sattle:9999"
    environment(SATTLE_URI_BASE="sattle:9999")
    assert "http://" in problems()["SATTLE_URI_BASE"]


def test_unknown_platform_is_refused(environment):
    environment(PLATFORM="keda")
    assert Settings.load().platform == "keda"
    environment(PLATFORM="cron")
    assert problems().keys() == {"PLATFORM"}


def test_worker_does_not_start_without_the_tables_that_a_setting_names(environment, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    environment(CENTRAL_IERS_CACHE=str(tmp_path / "absent.zip"))
    context = ProcessContext(Settings.load())
    with pytest.raises(SettingsError, match=r"CENTRAL_IERS_CACHE: .*absent\.zip does not exist"):
        context.warm()


def test_number_of_workers_may_have_the_name_of_the_observatorys(environment):
    assert Settings.load().processes == 1
    environment(WEB_CONCURRENCY="2")
    assert Settings.load().processes == 2
    environment(WORKER_COUNT="3")
    assert Settings.load().processes == 3


def test_profile_of_the_bucket_must_be_known(environment, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    environment(IMAGE_BUCKET="s3://embargo@raws")
    assert "LSST_RESOURCES_S3_PROFILE_embargo" in problems()["IMAGE_BUCKET"]
