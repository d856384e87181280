"""Every client of Kafka reads the same group of settings, whatever its process and its prefix."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import certifi
import pytest

from prompt_processing.butler_writer.config import WriterSettings
from prompt_processing.fanout.config import FanOutSettings
from prompt_processing.raw_microservice.config import MicroserviceSettings
from prompt_processing.settings.alerts import AlertSettings
from prompt_processing.settings.environment import EnvironmentSettings, SettingsError
from prompt_processing.settings.worker import Settings
from prompt_processing.tester.settings import EventStreamSettings
from prompt_processing.transport.kafka import KafkaSettings

CA_FILE = certifi.where()

WORKER = {
    "RUBIN_INSTRUMENT": "LSSTCam",
    "SKYMAP": "sky",
    "CENTRAL_REPO": "repo",
    "IMAGE_BUCKET": "raws",
    "KAFKA_CLUSTER": "notices:9092",
    "BUCKET_TOPIC": "notices",
    "CONFIG_APDB": "apdb.yaml",
    "PREPROCESSING_PIPELINES_CONFIG": "[]",
    "MAIN_PIPELINES_CONFIG": "[]",
    "AP_KAFKA_SERVER": "alerts:9092",
    "AP_KAFKA_TOPIC": "alerts",
    "USE_KAFKA_BUTLER_WRITER": "1",
    "BUTLER_WRITER_KAFKA_CLUSTER": "writer:9092",
    "BUTLER_WRITER_KAFKA_TOPIC": "outputs",
}
WRITER = {
    "KAFKA_CLUSTER": "writer:9092",
    "BUTLER_REPOSITORY": "repo",
    "KAFKA_TOPIC": "outputs",
    "KAFKA_OUTPUT_TOPIC": "events",
    "OUTPUT_DATASET_LIST_DIRECTORY": "lists",
}
FAN_OUT = {
    "SUPPORTED_INSTRUMENTS": "LATISS",
    "INSTRUMENT_CONFIG_FILE": "instruments.yaml",
    "KAFKA_CLUSTER": "visits:9092",
    "CONSUMER_GROUP": "fan-out",
}
RAWS = {"IMAGE_BUCKET": "raws", "KAFKA_CLUSTER": "notices:9092", "BUCKET_TOPIC": "notices"}


@dataclass(frozen=True)
class Client:
    """A client of Kafka, and the prefix of its variables."""

    settings: type[EnvironmentSettings]
    needed: dict[str, str]
    get: Callable[..., KafkaSettings | None]
    username: str
    password: str
    prefix: str


def cluster(settings: type[EnvironmentSettings], needed: dict[str, str], user: str = "KAFKA_") -> Client:
    return Client(settings, needed, lambda s: s.kafka, f"{user}USERNAME", f"{user}PASSWORD", "KAFKA_")


CLIENTS = {
    "fan-out": cluster(FanOutSettings, FAN_OUT),
    "fan-out's SASL names": cluster(FanOutSettings, FAN_OUT, "SASL_"),
    "writer": cluster(WriterSettings, WRITER),
    "raw microservice": cluster(MicroserviceSettings, RAWS),
    "arrival notices of the worker": cluster(Settings, WORKER),
    "tester": cluster(EventStreamSettings, {"KAFKA_CLUSTER": "visits:9092"}, "SASL_"),
    "alerts": Client(
        Settings,
        WORKER,
        lambda s: s.alert_stream.broker,
        "AP_KAFKA_PRODUCER_USERNAME",
        "AP_KAFKA_PRODUCER_PASSWORD",
        "AP_KAFKA_",
    ),
    "worker's writer topic": Client(
        Settings,
        WORKER,
        lambda s: s.writer_kafka,
        "BUTLER_WRITER_KAFKA_USERNAME",
        "BUTLER_WRITER_KAFKA_PASSWORD",
        "BUTLER_WRITER_KAFKA_",
    ),
}

EVERY_CLIENT = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys())


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., KafkaSettings | None]:
    for name in list(os.environ):
        if "KAFKA" in name or name.startswith(("SASL_", "SSL_", "SECURITY_")):
            monkeypatch.delenv(name)

    def load_client(client: Client, **variables: str) -> KafkaSettings | None:
        for name, value in {**client.needed, **variables}.items():
            monkeypatch.setenv(name, value)
        return client.get(client.settings.load())

    return load_client


def problems(load: Callable[..., object], client: Client, **variables: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as raised:
        load(client, **variables)
    return raised.value.problems


def configuration(settings: KafkaSettings | None) -> dict[str, object]:
    assert settings is not None
    return settings.client_configuration()


@EVERY_CLIENT
def test_without_credentials_a_client_speaks_plain_text(load, client: Client) -> None:
    assert configuration(load(client)).keys() == {"bootstrap.servers"}


@EVERY_CLIENT
def test_own_variables_make_a_tls_connection_with_user_and_password(load, client: Client) -> None:
    settings = load(
        client,
        **{
            client.username: "me",
            client.password: "swordfish",
            f"{client.prefix}SECURITY_PROTOCOL": "sasl_ssl",
            f"{client.prefix}SASL_MECHANISM": "PLAIN",
            f"{client.prefix}CA_FILE": CA_FILE,
            # For all other clusters.
            "SECURITY_PROTOCOL": "PLAINTEXT",
            "SASL_MECHANISM": "SCRAM-SHA-256",
        },
    )
    assert configuration(settings) == {
        "bootstrap.servers": settings.bootstrap_servers,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "me",
        "sasl.password": "swordfish",
        "ssl.ca.location": CA_FILE,
    }
    assert "swordfish" not in repr(settings) + str(settings)
    assert "swordfish" in client.settings.load().secrets


@EVERY_CLIENT
def test_process_wide_variables_hold_for_each_client(load, client: Client) -> None:
    everybody = {
        name: "x"
        for one in CLIENTS.values()
        if one.settings is client.settings
        for name in (one.username, one.password)
    }
    settings = load(
        client, **everybody, SECURITY_PROTOCOL="SASL_SSL", SASL_MECHANISM="SCRAM-SHA-256", SSL_CA_FILE=CA_FILE
    )
    found = configuration(settings)
    assert found["security.protocol"] == "SASL_SSL"
    assert found["sasl.mechanism"] == "SCRAM-SHA-256"
    assert found["ssl.ca.location"] == CA_FILE


@EVERY_CLIENT
def test_a_ca_file_alone_means_tls(load, client: Client) -> None:
    own = {f"{client.prefix}CA_FILE": CA_FILE}
    assert configuration(load(client, **own))["security.protocol"] == "SSL"
    own |= {client.username: "me", client.password: "x"}
    assert configuration(load(client, **own))["security.protocol"] == "SASL_SSL"


@EVERY_CLIENT
def test_half_of_the_credentials_is_reported(load, client: Client) -> None:
    assert problems(load, client, **{client.username: "me"}).keys() == {client.password}


@EVERY_CLIENT
def test_password_without_its_user_is_reported_and_not_shown(load, client: Client) -> None:
    found = problems(load, client, **{client.password: "swordfish"})
    assert found.keys() == {client.username}
    assert "swordfish" not in str(found)


@EVERY_CLIENT
def test_unknown_protocol_and_mechanism_are_refused_by_name(load, client: Client) -> None:
    found = problems(
        load,
        client,
        **{f"{client.prefix}SECURITY_PROTOCOL": "TLS", f"{client.prefix}SASL_MECHANISM": "SCRAM"},
    )
    assert found.keys() == {f"{client.prefix}SECURITY_PROTOCOL", f"{client.prefix}SASL_MECHANISM"}


@EVERY_CLIENT
def test_protocol_and_credentials_that_contradict_each_other_are_reported(load, client: Client) -> None:
    own = f"{client.prefix}SECURITY_PROTOCOL"
    missing = problems(load, client, **{own: "SASL_SSL"})
    assert any(own in problem for problem in missing.values())
    ignored = problems(load, client, **{own: "SSL", client.username: "me", client.password: "x"})
    assert client.username in ignored[own]


@EVERY_CLIENT
def test_unreadable_ca_file_is_reported_by_name(load, client: Client, tmp_path: Path) -> None:
    own = f"{client.prefix}CA_FILE"
    absent = tmp_path / "absent.pem"
    assert str(absent) in problems(load, client, **{own: str(absent)})[own]
    empty = tmp_path / "empty.pem"
    empty.write_text("not a certificate")
    assert "no certificate" in problems(load, client, **{own: str(empty)})[own]


def test_a_clusters_own_credentials_win_over_the_general_ones(load) -> None:
    settings = load(
        CLIENTS["writer"],
        SASL_USERNAME="general",
        SASL_PASSWORD="general",
        KAFKA_USERNAME="own",
        KAFKA_PASSWORD="own",
    )
    assert configuration(settings)["sasl.username"] == "own"


def test_alert_server_without_a_topic_is_reported(load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AP_KAFKA_SERVER", "alerts:9092")
    with pytest.raises(SettingsError, match="AP_KAFKA_TOPIC"):
        AlertSettings.load()


def test_alerts_are_kept_below_the_local_repositories(load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERT_KEEP_DIR", raising=False)
    monkeypatch.setenv("LOCAL_REPOS", "/scratch")
    assert AlertSettings.load().alert_stream.keep_directory == Path("/scratch/unsent-alerts")


def test_registry_needs_an_address_with_a_scheme_and_whole_credentials(load) -> None:
    found = problems(
        load,
        CLIENTS["fan-out"],
        KAFKA_SCHEMA_REGISTRY_URL="registry:8081",
        KAFKA_SCHEMA_REGISTRY_USERNAME="me",
        KAFKA_SCHEMA_REGISTRY_CA_FILE="/no/such/file.pem",
    )
    assert found.keys() == {
        "KAFKA_SCHEMA_REGISTRY_URL",
        "KAFKA_SCHEMA_REGISTRY_PASSWORD",
        "KAFKA_SCHEMA_REGISTRY_CA_FILE",
    }
