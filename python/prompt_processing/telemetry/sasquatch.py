"""Post metric bundles to the observatory's Sasquatch REST proxy."""

from __future__ import annotations

import json
import logging
import math
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from pydantic import SecretStr

from prompt_processing.telemetry.handover import in_this_context

# Imported late: few workers post, and none before its first visit.
if TYPE_CHECKING:
    import requests

__all__ = ["Bundle", "Sasquatch", "SasquatchError"]

_log = logging.getLogger("lsst.activator.sasquatch")

_CONTENT_TYPE = "application/vnd.kafka.avro.v2+json"
_ACCEPT = "application/vnd.kafka.v2+json"
_MOST_WAITING = 20
"""Visits whose metrics may wait for a slow or unavailable proxy; metrics of further visits are dropped."""

Value = float | int | str | bool


class SasquatchError(Exception):
    """The proxy did not accept a bundle."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Metrics for one topic.

    Attributes
    ----------
    name : `str`
        Name of the bundle, such as ``promptPreload_metrics``.
    values : mapping
        Metrics by name; values that are not finite are omitted.
    identity : mapping
        Subject of the metrics: instrument, group, detector and so on; tags in the database.
    """

    name: str
    values: Mapping[str, Value]
    identity: Mapping[str, str]


class Sasquatch:
    """Post metric bundles in the background; a failure is only logged.

    Parameters
    ----------
    url : `str`
        Base URL of the REST proxy.
    namespace : `str`
        Namespace of the topics.
    token : `pydantic.SecretStr`, optional
        Bearer token.
    timeout : `float`, optional
        Seconds that a post may take.
    """

    def __init__(
        self, url: str, namespace: str, token: SecretStr | None = None, timeout: float = 5.0
    ) -> None:
        self._url = url.rstrip("/")
        self._namespace = namespace
        self._timeout = timeout
        import requests

        self._session = requests.Session()
        self._session.headers.update({"Content-Type": _CONTENT_TYPE, "Accept": _ACCEPT})
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None

    def submit(self, bundles: Sequence[Bundle]) -> None:
        """Queue bundles to be posted in the background.

        Parameters
        ----------
        bundles : sequence of `Bundle`
            Bundles; after one that fails, the rest are not tried.
        """

        def post_all() -> None:
            self._post_all(bundles)

        if self._thread is None:
            # Started with the first visit, after the fork, which threads do not survive.
            self._thread = threading.Thread(target=self._work, name="sasquatch", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(in_this_context(post_all))
        except queue.Full:
            _log.warning("Sasquatch is too slow: %d metric bundles were not sent.", len(bundles))

    def close(self, timeout: float = 2.0) -> None:
        """Post the waiting bundles, within the timeout (s)."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            _log.warning("Sasquatch is too slow: the last visits' metrics are not sent.")
            return
        thread.join(timeout)

    def _work(self) -> None:
        while (post_all := self._waiting.get()) is not None:
            post_all()

    def _post_all(self, bundles: Sequence[Bundle]) -> None:
        for number, bundle in enumerate(bundles):
            try:
                self.post(bundle)
            except SasquatchError as error:
                left = len(bundles) - number
                _log.warning("%d bundles of metrics did not reach Sasquatch: %s", left, error)
                break
            except Exception:  # noqa: BLE001
                # Without this thread there would be no metrics for the rest of the night.
                _log.exception("The metrics %s are not sent.", bundle.name)

    def post(self, bundle: Bundle) -> None:
        """Post one bundle, and wait until the proxy has accepted it.

        Parameters
        ----------
        bundle : `Bundle`
            The bundle.

        Raises
        ------
        SasquatchError
            Raised if the proxy does not answer, or refuses the bundle.
        """
        record: dict[str, Value] = {
            "id": str(uuid4()),
            "timestamp": time.time(),
            **{_field_name(name): value for name, value in bundle.identity.items()},
            # Neither JSON nor the database behind the proxy supports NaN.
            **{_field_name(name): value for name, value in bundle.values.items() if _is_finite(value)},
        }
        schema = {
            "type": "record",
            "namespace": self._namespace,
            "name": bundle.name,
            "fields": [_avro_field(name, value) for name, value in record.items()],
        }
        body = {"value_schema": json.dumps(schema), "records": [{"value": record}]}
        url = f"{self._url}/topics/{quote(f'{self._namespace}.{bundle.name}')}"
        try:
            response = self._session.post(url, data=json.dumps(body, allow_nan=False), timeout=self._timeout)
            response.raise_for_status()
        # `requests` raises these only.
        except OSError as error:
            raise SasquatchError(f"{bundle.name}: {error}") from error
        if refusal := _refusal(response):
            raise SasquatchError(f"{bundle.name}: {refusal}")


def _refusal(response: requests.Response) -> str | None:
    """Return the proxy's error for a record that Kafka refused, reported in a successful answer."""
    try:
        answer: Any = response.json()
    except ValueError:
        return None
    offsets = answer.get("offsets") if isinstance(answer, dict) else None
    for record in offsets or []:
        if isinstance(record, dict) and record.get("error_code"):
            return f"error {record['error_code']}: {record.get('error')}"
    return None


def _is_finite(value: Value) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _avro_field(name: str, value: Value) -> dict[str, Any]:
    # With a default, a registry takes a schema on a topic whose earlier records lack the field.
    if isinstance(value, bool):
        return {"name": name, "type": "boolean", "default": False}
    if isinstance(value, int):
        return {"name": name, "type": "long", "default": 0}
    if isinstance(value, float):
        return {"name": name, "type": "double", "default": 0.0}
    return {"name": name, "type": "string", "default": ""}


def _field_name(name: str) -> str:
    # Avro names consist of ASCII letters, digits and underscores, and do not begin with a digit.
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{plain}" if plain[:1].isdigit() or not plain else plain
