"""Kafka's clients are configured from settings that do not show credentials."""

import threading
import time
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException

from prompt_processing.transport.kafka import (
    ClusterCheck,
    KafkaSettings,
    Refusals,
    make_consumer,
    make_producer,
)


def test_without_credentials_the_connection_is_plain():
    assert KafkaSettings(bootstrap_servers="k:9092").client_configuration() == {"bootstrap.servers": "k:9092"}


def test_with_credentials_it_is_sasl():
    settings = KafkaSettings(bootstrap_servers="k:9092", username="me", password="hush")
    configuration = settings.client_configuration()
    assert configuration["security.protocol"] == "SASL_PLAINTEXT"
    assert configuration["sasl.mechanism"] == "SCRAM-SHA-512"
    assert configuration["sasl.password"] == "hush"
    assert "hush" not in repr(settings)


def test_the_protocol_can_be_chosen():
    settings = KafkaSettings(bootstrap_servers="k", username="me", password="x", security_protocol="SASL_SSL")
    assert settings.client_configuration()["security.protocol"] == "SASL_SSL"
    plain = KafkaSettings(bootstrap_servers="k", security_protocol="SSL")
    assert plain.client_configuration()["security.protocol"] == "SSL"


@pytest.mark.parametrize("half", [{"username": "me"}, {"password": "hush"}])
def test_half_of_the_credentials_is_none(half):
    settings = KafkaSettings(bootstrap_servers="k", security_protocol="SASL_SSL", **half)
    assert not {"sasl.username", "sasl.password"} & set(settings.client_configuration())
    assert KafkaSettings(bootstrap_servers="k", **half).protocol == "PLAINTEXT"


WRONG = KafkaError(KafkaError._AUTHENTICATION, "refused: user me, password hush")
UNTRUSTED = KafkaError(KafkaError._SSL, "certificate verify failed")
DOWN = KafkaError(KafkaError._TRANSPORT, "connection refused")


def test_refused_credentials_are_named_by_their_settings_without_what_the_broker_says():
    settings = KafkaSettings(bootstrap_servers="k", credentials_from="SASL_USERNAME and SASL_PASSWORD")
    assert settings.explain(WRONG) == "Kafka does not accept SASL_USERNAME and SASL_PASSWORD"
    other = KafkaError(KafkaError.SASL_AUTHENTICATION_FAILED)
    assert settings.explain(other) == settings.explain(WRONG)
    assert settings.explain(DOWN) is None


@pytest.mark.parametrize(
    ("ca_file", "authorities"), [("/ca.pem", "/ca.pem"), (None, "the system's certificate authorities")]
)
def test_untrusted_certificate_is_reported_with_the_authorities_in_use(ca_file, authorities):
    settings = KafkaSettings(bootstrap_servers="k", ca_file=ca_file, ca_file_from="SSL_CA_FILE")
    reason = settings.explain(UNTRUSTED)
    assert reason is not None
    assert authorities in reason
    assert "SSL_CA_FILE" in reason
    assert "verify failed" in reason


def test_a_refusal_is_logged_once_and_remembered(caplog):
    others = []
    refusals = Refusals(KafkaSettings(bootstrap_servers="k"), others.append)
    assert refusals.reason is None
    for error in (WRONG, WRONG, DOWN, WRONG):
        refusals(error)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.messages == [refusals.reason]
    assert others == [DOWN]
    refusals(UNTRUSTED)
    assert len(caplog.records) == 2
    assert caplog.messages[-1] == refusals.reason


def test_other_errors_of_a_client_are_logged(caplog):
    Refusals(KafkaSettings(bootstrap_servers="k"))(DOWN)
    assert caplog.messages == ["Kafka: connection refused"]


class Cluster:
    """A client that counts the questions, and answers as it is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.answers = True
        self.meanwhile: Callable[[], None] = lambda: None

    def list_topics(self, topic: str, timeout: float) -> None:
        self.asked.append((topic, timeout))
        self.meanwhile()
        if not self.answers:
            raise KafkaException(DOWN)


def test_a_cluster_is_checked_at_most_once_within_the_interval(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    cluster = Cluster()
    check = ClusterCheck(cluster, "visits", timeout=3.0, interval=5.0)
    assert check()
    cluster.answers = False
    now[0] += 5.0
    assert check()
    assert cluster.asked == [("visits", 3.0)]
    now[0] += 0.1
    assert not check()
    cluster.answers = True
    assert not check()
    now[0] += 5.1
    assert check()
    assert len(cluster.asked) == 3


def test_probes_at_the_same_time_ask_a_cluster_once():
    cluster = Cluster()
    check = ClusterCheck(cluster, "visits", interval=60.0)
    others = [threading.Thread(target=check) for _ in range(3)]

    def start_others() -> None:
        for other in others:
            other.start()
        cluster.meanwhile = lambda: None
        # Without a lock they would ask now.
        time.sleep(0.05)

    cluster.meanwhile = start_others
    check()
    for other in others:
        other.join()
    assert len(cluster.asked) == 1


def test_options_are_librdkafkas_with_underscores():
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    make_producer(settings, linger_ms=5, on_error=lambda error: None)
    with pytest.raises(KafkaException, match=r'"linger\.seconds"'):
        make_producer(settings, linger_seconds=5)
    make_consumer(settings, "readers", auto_offset_reset="latest", on_error=lambda error: None).close()
    with pytest.raises(KafkaException, match=r'"auto\.offset\.set"'):
        make_consumer(settings, "readers", auto_offset_set="latest")
