"""Kafka's clients are configured from settings that do not show credentials."""

import pytest

from prompt_processing.transport.kafka import KafkaSettings


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
