"""Kafka clients, made from settings; their messages contain no credentials."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from pydantic import BaseModel, ConfigDict, SecretStr

__all__ = [
    "DEFAULT_MECHANISM",
    "LOGGER",
    "ClusterCheck",
    "ErrorHandler",
    "KafkaSettings",
    "Refusals",
    "make_consumer",
    "make_producer",
]

LOGGER = "lsst.activator.transport.kafka"
"""Logger of all clients."""

_log = logging.getLogger(LOGGER)

ErrorHandler = Callable[[KafkaError], None]

DEFAULT_MECHANISM = "SCRAM-SHA-512"

_WRONG_CREDENTIALS = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)


class KafkaSettings(BaseModel):
    """Connection to a Kafka cluster.

    Attributes
    ----------
    bootstrap_servers : `str`
        ``host:port``, comma-separated.
    username, password : `pydantic.SecretStr` or `None`
        SASL credentials.
    mechanism : `str`
        SASL mechanism.
    security_protocol : `str` or `None`
        librdkafka's ``security.protocol``; by default SASL with credentials,
        TLS with a CA file, and plain text otherwise.
    ca_file : `~pathlib.Path` or `None`
        Certificate authorities (PEM) that sign the brokers' certificates; by
        default those of the system.
    credentials_from, ca_file_from : `str`
        Names of the environment variables for the credentials and the CA file,
        used in messages.
    """

    model_config = ConfigDict(frozen=True)

    bootstrap_servers: str
    username: SecretStr | None = None
    password: SecretStr | None = None
    mechanism: str = DEFAULT_MECHANISM
    security_protocol: str | None = None
    ca_file: Path | None = None
    credentials_from: str = "the user name and the password"
    ca_file_from: str = "the CA file"

    @property
    def protocol(self) -> str:
        """The security protocol; chosen automatically if it is not set."""
        has_user = self.username is not None and self.password is not None
        chosen = ("SASL_" if has_user else "") + ("SSL" if self.ca_file is not None else "PLAINTEXT")
        return self.security_protocol or chosen

    def client_configuration(self) -> dict[str, Any]:
        """Return librdkafka's configuration, which includes credentials and must not be logged."""
        configuration: dict[str, Any] = {"bootstrap.servers": self.bootstrap_servers}
        if self.protocol != "PLAINTEXT":
            configuration["security.protocol"] = self.protocol
        if self.protocol.startswith("SASL") and self.username is not None and self.password is not None:
            configuration |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username.get_secret_value(),
                "sasl.password": self.password.get_secret_value(),
            }
        if self.protocol.endswith("SSL") and self.ca_file is not None:
            configuration["ssl.ca.location"] = str(self.ca_file)
        return configuration

    def explain(self, error: KafkaError) -> str | None:
        """Return why the cluster refuses a client, and which setting to check.

        Parameters
        ----------
        error : `confluent_kafka.KafkaError`
            Error of the client.

        Returns
        -------
        explanation : `str` or `None`
            Explanation without credentials; `None` for all other failures.
        """
        if error.code() in _WRONG_CREDENTIALS:
            return f"Kafka does not accept {self.credentials_from}"
        if error.code() == KafkaError._SSL:
            authorities = self.ca_file or "the system's certificate authorities"
            return (
                f"no TLS connection to Kafka can be made with {authorities} "
                f"(check {self.ca_file_from}): {error.str()}"
            )
        return None


class Refusals:
    """Remember why a cluster refuses a client, because the failing calls only report a timeout.

    Parameters
    ----------
    settings : `KafkaSettings`
        Settings of the cluster.
    otherwise : callable, optional
        Called with all other errors; by default they are logged.
    """

    def __init__(self, settings: KafkaSettings, otherwise: ErrorHandler | None = None) -> None:
        self._settings = settings
        self._otherwise = otherwise or _log_error
        self.reason: str | None = None
        """The last refusal; `None` if there was none."""

    def __call__(self, error: KafkaError) -> None:
        """Handle an error of the client."""
        reason = self._settings.explain(error)
        if reason is None:
            self._otherwise(error)
            return
        if reason != self.reason:
            _log.error("%s", reason)
        self.reason = reason


class ClusterCheck:
    """Check whether a cluster answers a client, with a limited rate.

    Parameters
    ----------
    client : `confluent_kafka.Consumer` or `confluent_kafka.Producer`
        The client; it may be in use by another thread.
    topic : `str`
        Topic to look up.
    timeout, interval : `float`, optional
        Seconds that an answer may take, and seconds for which it is reused.
    """

    def __init__(
        self, client: Consumer | Producer, topic: str, *, timeout: float = 2.0, interval: float = 5.0
    ) -> None:
        self._client = client
        self._topic = topic
        self._timeout = timeout
        self._interval = interval
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._answers = False

    def __call__(self) -> bool:
        """Return whether the cluster answers, or has answered within the interval."""
        with self._lock:
            if time.monotonic() - self._asked > self._interval:
                try:
                    self._client.list_topics(self._topic, timeout=self._timeout)
                    self._answers = True
                except KafkaException:
                    self._answers = False
                self._asked = time.monotonic()
            return self._answers


def make_producer(
    settings: KafkaSettings, *, on_error: ErrorHandler | None = None, **options: Any
) -> Producer:
    """Make a producer.

    Parameters
    ----------
    settings : `KafkaSettings`
        Settings of the cluster.
    on_error : callable, optional
        Called with errors of the client, such as a lost connection; by default
        they are logged.
    **options
        librdkafka's options with ``_`` for ``.``, such as ``linger_ms=5``.

    Returns
    -------
    producer : `confluent_kafka.Producer`
        Producer that connects in the background. An unreachable cluster shows
        in delivery reports and in `~confluent_kafka.Producer.flush`.
    """
    return Producer(_configuration(settings, on_error, options), logger=_log)


def make_consumer(
    settings: KafkaSettings, group: str, *, on_error: ErrorHandler | None = None, **options: Any
) -> Consumer:
    """Make a consumer.

    Parameters
    ----------
    settings : `KafkaSettings`
        Settings of the cluster.
    group : `str`
        Consumer group.
    on_error : callable, optional
        Called with errors of the client; by default they are logged.
    **options
        librdkafka's options with ``_`` for ``.``, such as
        ``auto_offset_reset="latest"``.

    Returns
    -------
    consumer : `confluent_kafka.Consumer`
        Consumer without a subscription.
    """
    return Consumer(_configuration(settings, on_error, options) | {"group.id": group}, logger=_log)


def _configuration(
    settings: KafkaSettings, on_error: ErrorHandler | None, options: dict[str, Any]
) -> dict[str, Any]:
    named = {name.replace("_", "."): value for name, value in options.items()}
    return {"error_cb": on_error or Refusals(settings), **settings.client_configuration(), **named}


def _log_error(error: KafkaError) -> None:
    # librdkafka reconnects automatically; the calls that fail decide what this means for a visit.
    _log.warning("Kafka: %s", error.str())
