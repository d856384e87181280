"""Clients of Kafka, made from settings and never showing a credential."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer
from pydantic import BaseModel, ConfigDict, SecretStr

_log = logging.getLogger("lsst.activator.transport.kafka")

ErrorHandler = Callable[[KafkaError], None]


class KafkaSettings(BaseModel):
    """How to reach a Kafka cluster.

    Attributes
    ----------
    bootstrap_servers : `str`
        ``host:port``, comma-separated.
    username, password : `pydantic.SecretStr` or `None`
        SASL credentials; with neither, the connection is plain text unless
        ``security_protocol`` says otherwise.
    mechanism : `str`
        SASL mechanism.
    security_protocol : `str` or `None`
        librdkafka's ``security.protocol``; by default ``SASL_PLAINTEXT`` with
        credentials and ``PLAINTEXT`` without.
    """

    model_config = ConfigDict(frozen=True)

    bootstrap_servers: str
    username: SecretStr | None = None
    password: SecretStr | None = None
    mechanism: str = "SCRAM-SHA-512"
    security_protocol: str | None = None

    def client_configuration(self) -> dict[str, Any]:
        """Give librdkafka's configuration, credentials included.

        Returns
        -------
        configuration : `dict`
            Not to be logged.
        """
        configuration: dict[str, Any] = {"bootstrap.servers": self.bootstrap_servers}
        if self.username is not None and self.password is not None:
            configuration |= {
                "security.protocol": self.security_protocol or "SASL_PLAINTEXT",
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username.get_secret_value(),
                "sasl.password": self.password.get_secret_value(),
            }
        elif self.security_protocol:
            configuration["security.protocol"] = self.security_protocol
        return configuration


def make_producer(
    settings: KafkaSettings, *, on_error: ErrorHandler | None = None, **options: Any
) -> Producer:
    """Make a producer.

    Parameters
    ----------
    settings : `KafkaSettings`
        The cluster.
    on_error : callable, optional
        Told of the client's own errors, such as a lost connection; by default
        they are logged.
    **options
        librdkafka's options with ``_`` for ``.``, such as ``linger_ms=5``.

    Returns
    -------
    producer : `confluent_kafka.Producer`
        Connects in the background; an unreachable cluster shows in delivery
        reports and in `~confluent_kafka.Producer.flush`.
    """
    return Producer(_configuration(settings, on_error, options), logger=_log)


def make_consumer(
    settings: KafkaSettings, group: str, *, on_error: ErrorHandler | None = None, **options: Any
) -> Consumer:
    """Make a consumer.

    Parameters
    ----------
    settings : `KafkaSettings`
        The cluster.
    group : `str`
        Consumer group.
    on_error : callable, optional
        Told of the client's own errors; by default they are logged.
    **options
        librdkafka's options with ``_`` for ``.``, such as
        ``auto_offset_reset="latest"``.

    Returns
    -------
    consumer : `confluent_kafka.Consumer`
        Subscribed to nothing yet.
    """
    return Consumer(_configuration(settings, on_error, options) | {"group.id": group}, logger=_log)


def _configuration(
    settings: KafkaSettings, on_error: ErrorHandler | None, options: dict[str, Any]
) -> dict[str, Any]:
    named = {name.replace("_", "."): value for name, value in options.items()}
    return {"error_cb": on_error or _log_error, **settings.client_configuration(), **named}


def _log_error(error: KafkaError) -> None:
    # librdkafka reconnects by itself; what it means for a visit is decided where a call fails.
    _log.warning("Kafka: %s", error.str())
