from contextlib import nullcontext
from pathlib import Path

import pytest

from prompt_processing.domain.visit import NextVisit
from prompt_processing.fanout.config import ConfigurationError, DetectorMap, FanOutSettings
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.platform import PlatformSettings

CONFIGURATION = """
detectors:
  HSC: {0: true, 1: false, 2: true}
  HSC-TEST-59134: {5: true, 4: true}
  LATISS: {0: true}
knative-urls:
  HSC: http://hsc.example/next-visit
  LATISS: http://latiss.example/next-visit
redis-streams:
  HSC: instrument:hsc
"""


def visit(**fields: object) -> NextVisit:
    return NextVisit.model_validate(
        {
            "salIndex": 1,
            "groupId": "g",
            "coordinateSystem": 2,
            "position": [1.0, 2.0],
            "rotationSystem": 2,
            "duration": 20,
            "nimages": 1,
            "instrument": "HSC",
            "private_sndStamp": 0.0,
        }
        | fields
    )


@pytest.fixture
def detectors(tmp_path: Path) -> DetectorMap:
    path = tmp_path / "instruments.yaml"
    path.write_text(CONFIGURATION)
    return DetectorMap.load(path)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in FanOutSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SUPPORTED_INSTRUMENTS", "HSC LATISS")
    monkeypatch.setenv("INSTRUMENT_CONFIG_FILE", str(tmp_path / "instruments.yaml"))
    monkeypatch.setenv("KAFKA_CLUSTER", "broker:9092")
    monkeypatch.setenv("CONSUMER_GROUP", "fan-out")
    return monkeypatch


def test_only_active_detectors_are_sent_to(detectors: DetectorMap) -> None:
    assert detectors.active_detectors(visit()) == [0, 2]


def test_test_group_has_a_detector_list_of_its_own(detectors: DetectorMap) -> None:
    assert detectors.active_detectors(visit(salIndex=59134)) == [4, 5]


def test_sal_index_999_uses_the_normal_list(detectors: DetectorMap) -> None:
    assert detectors.active_detectors(visit(salIndex=999)) == [0, 2]


def test_instruments_are_separated_by_blanks(environment: pytest.MonkeyPatch) -> None:
    assert FanOutSettings.load().supported_instruments == {"HSC", "LATISS"}


def test_everything_missing_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("KAFKA_CLUSTER")
    environment.delenv("CONSUMER_GROUP")
    environment.setenv("MAX_FAN_OUT_MESSAGES", "many")
    with pytest.raises(SettingsError) as raised:
        FanOutSettings.load()
    for name in ("KAFKA_CLUSTER", "CONSUMER_GROUP", "MAX_FAN_OUT_MESSAGES"):
        assert name in str(raised.value)


def test_password_is_never_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SASL_USERNAME", "ali")
    environment.setenv("SASL_PASSWORD", "open sesame")
    settings = FanOutSettings.load()
    assert settings.secrets == ("open sesame",)
    assert "sesame" not in repr(settings) + str(settings)
    environment.delenv("KAFKA_CLUSTER")
    with pytest.raises(SettingsError) as raised:
        FanOutSettings.load()
    assert "sesame" not in str(raised.value)


def test_keda_needs_a_redis_host(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PLATFORM", "keda")
    with pytest.raises(SettingsError, match="REDIS_HOST"):
        FanOutSettings.load()


def test_retries_of_redis_have_the_defaults_of_the_charts(environment: pytest.MonkeyPatch) -> None:
    settings = FanOutSettings.load()
    assert settings.redis_retry_count == 3
    assert (settings.redis_retry_initial_delay, settings.redis_retry_delay_cap) == (1.0, 5.0)
    assert settings.redis_health_check_interval == 3.0
    assert not settings.debug_logs


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_RETRY_COUNT", "-1"),
        ("REDIS_RETRY_COUNT", "1.5"),
        ("REDIS_RETRY_INITIAL_DELAY", "soon"),
        ("REDIS_RETRY_DELAY_CAP", "inf"),
        ("REDIS_HEALTH_CHECK_INTERVAL", "-3"),
        ("DEBUG_LOGS", "loud"),
    ],
)
def test_unusable_settings_of_redis_and_logs_are_named(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        FanOutSettings.load()


def test_supported_instrument_without_destination_is_refused(
    environment: pytest.MonkeyPatch, detectors: DetectorMap
) -> None:
    environment.setenv("PLATFORM", "keda")
    environment.setenv("REDIS_HOST", "redis")
    with pytest.raises(ConfigurationError, match="no LATISS under redis-streams"):
        detectors.check(FanOutSettings.load())


@pytest.mark.parametrize(
    ("platform", "sections", "problem"),
    [
        ("keda", "knative-urls:\nredis-streams: {HSC: instrument:hsc}", None),
        ("keda", "knative-urls: {HSC: ''}\nredis-streams: {HSC: instrument:hsc}", None),
        ("keda", "redis-streams: {HSC: ''}", "redis-streams.HSC is '', not an address"),
        ("keda", "redis-streams:", "no HSC under redis-streams"),
        ("knative", "knative-urls: {HSC: http://hsc/next-visit}\nredis-streams: null", None),
        ("knative", "knative-urls: {HSC: hsc/next-visit}", "knative-urls.HSC is 'hsc/next-visit', not an"),
        ("knative", "knative-urls: {HSC: 'http://'}", "knative-urls.HSC is 'http://', not an address"),
    ],
)
def test_only_destinations_of_the_platform_need_to_be_usable(
    environment: pytest.MonkeyPatch, tmp_path: Path, platform: str, sections: str, problem: str | None
) -> None:
    environment.setenv("SUPPORTED_INSTRUMENTS", "HSC")
    environment.setenv("PLATFORM", platform)
    environment.setenv("REDIS_HOST", "redis")
    path = tmp_path / "instruments.yaml"
    path.write_text(f"detectors: {{HSC: {{0: true}}}}\n{sections}\n")
    expected = nullcontext() if problem is None else pytest.raises(ConfigurationError, match=problem)
    with expected:
        DetectorMap.load(path).check(FanOutSettings.load())


@pytest.mark.parametrize(
    "text", ["", "[]", "detectors: 3", "detectors: {HSC: {zero: true}}", "detectors: {HSC: {-1: true}}", "{"]
)
def test_file_that_is_no_configuration_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "instruments.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"instruments\.yaml"):
        DetectorMap.load(path)


@pytest.mark.parametrize("platform", ["keda", "KEDA", "Knative"])
def test_platform_is_written_in_any_case(environment: pytest.MonkeyPatch, platform: str) -> None:
    environment.setenv("REDIS_HOST", "redis")
    environment.setenv("PLATFORM", platform)
    assert FanOutSettings.load().platform == platform.lower()
    assert PlatformSettings.load().platform == platform.lower()
