"""Metric bundles for the observatory's Sasquatch REST proxy."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import requests
from pydantic import SecretStr

_log = logging.getLogger("lsst.activator.sasquatch")

_CONTENT_TYPE = "application/vnd.kafka.avro.v2+json"

Value = float | int | str | bool


class Sasquatch:
    """Post metric bundles; a failure is logged and fails nothing.

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
        self._session = requests.Session()
        self._session.headers["Content-Type"] = _CONTENT_TYPE
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token.get_secret_value()}"

    def post(self, bundle: str, values: Mapping[str, Value], identity: Mapping[str, str | int]) -> bool:
        """Post one bundle.

        Parameters
        ----------
        bundle : `str`
            Name of the bundle, such as ``promptPreload_metrics``.
        values : mapping
            Metrics by name.
        identity : mapping
            What the metrics are about: instrument, group, detector and so on.

        Returns
        -------
        posted : `bool`
            Whether the proxy took it.
        """
        record: dict[str, Any] = {
            "id": str(uuid4()),
            "timestamp": int(time.time() * 1e6),
            **{_field_name(name): value for name, value in {**identity, **values}.items()},
        }
        schema = {
            "type": "record",
            "namespace": self._namespace,
            "name": bundle,
            "fields": [{"name": name, "type": _avro_type(value)} for name, value in record.items()],
        }
        body = {"value_schema": json.dumps(schema), "records": [{"value": record}]}
        url = f"{self._url}/topics/{quote(f'{self._namespace}.{bundle}')}"
        try:
            response = self._session.post(url, data=json.dumps(body), timeout=self._timeout)
            response.raise_for_status()
        except requests.RequestException as error:
            _log.warning("The metrics %s did not reach Sasquatch: %s", bundle, error)
            return False
        return True


def _avro_type(value: Value) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "long"
    return "double" if isinstance(value, float) else "string"


def _field_name(name: str) -> str:
    # Avro's names know no dots or dashes.
    return "".join(letter if letter.isalnum() else "_" for letter in name)
