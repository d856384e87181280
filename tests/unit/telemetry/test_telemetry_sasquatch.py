"""Metric bundles reach the REST proxy in its own form, and a failure fails nothing."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import pytest
from pydantic import SecretStr
from rest_proxy import RestProxy, rest_proxy

from prompt_processing.telemetry.sasquatch import Bundle, Sasquatch, SasquatchError

__all__ = ["rest_proxy"]

TOKEN = SecretStr("hush-token")
PRELOAD = Bundle(
    "promptPreload_metrics", {"total-time": 1.5, "n": 3, "good": True}, {"instrument": "LSSTCam"}
)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_bundle_is_posted_with_its_schema(rest_proxy: RestProxy) -> None:
    Sasquatch(f"{rest_proxy.url}/", "lsst.prompt", TOKEN).post(PRELOAD)
    assert rest_proxy.refusals == []
    (posted,) = rest_proxy.posted
    assert posted.topic == "lsst.prompt.promptPreload_metrics"
    types = {field["name"]: field["type"] for field in posted.schema["fields"]}
    assert types == {
        "id": "string",
        "timestamp": "double",
        "instrument": "string",
        "total_time": "double",
        "n": "long",
        "good": "boolean",
    }
    assert (posted.value["total_time"], posted.value["n"], posted.value["good"]) == (1.5, 3, True)
    # Seconds, UTC.
    assert posted.value["timestamp"] == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_left_out(rest_proxy: RestProxy, value: float) -> None:
    Sasquatch(rest_proxy.url, "lsst.prompt", TOKEN).post(Bundle("b", {"a": value, "c": 1.0}, {}))
    (posted,) = rest_proxy.posted
    assert posted.value.keys() == {"id", "timestamp", "c"}


@pytest.mark.parametrize("name", ["numRejected bad edge", "2 sigma", "", "χ²", "a.b-c"])
def test_any_name_becomes_one_that_avro_has(rest_proxy: RestProxy, name: str) -> None:
    Sasquatch(rest_proxy.url, "lsst.prompt", TOKEN).post(Bundle("b", {name: 1}, {}))
    assert rest_proxy.refusals == []
    assert len(rest_proxy.posted) == 1


def test_refusals_are_told(rest_proxy: RestProxy) -> None:
    sasquatch = Sasquatch(rest_proxy.url, "lsst.prompt", TOKEN)
    rest_proxy.status = 500
    with pytest.raises(SasquatchError, match="500"):
        sasquatch.post(PRELOAD)
    # A success that is none: the proxy has taken the record, and Kafka has not.
    rest_proxy.status, rest_proxy.error_code = 200, 50003
    with pytest.raises(SasquatchError, match="50003"):
        sasquatch.post(PRELOAD)
    with pytest.raises(SasquatchError):
        Sasquatch("http://127.0.0.1:1", "lsst.prompt", timeout=1.0).post(PRELOAD)
    with pytest.raises(SasquatchError, match="401"):
        Sasquatch(rest_proxy.url, "lsst.prompt", SecretStr("hush-wrong")).post(PRELOAD)


def test_failure_in_the_background_is_logged_once_a_visit_without_the_token(
    rest_proxy: RestProxy, caplog: pytest.LogCaptureFixture
) -> None:
    sasquatch = Sasquatch(rest_proxy.url, "lsst.prompt", TOKEN)
    rest_proxy.status = 503
    sasquatch.submit([PRELOAD] * 5)
    until(lambda: bool(caplog.records))
    rest_proxy.status = 200
    sasquatch.submit([PRELOAD] * 2)
    sasquatch.close(20.0)
    assert len(rest_proxy.posted) == 2
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "5 bundles" in told[0].getMessage()
    assert "hush" not in caplog.text


def test_slow_proxy_holds_nobody_up(rest_proxy: RestProxy, caplog: pytest.LogCaptureFixture) -> None:
    sasquatch = Sasquatch(rest_proxy.url, "lsst.prompt", TOKEN)
    rest_proxy.released.clear()
    start = time.monotonic()
    for _ in range(30):
        sasquatch.submit([PRELOAD])
    sasquatch.close(0.2)
    assert time.monotonic() - start < 3
    assert "too slow" in caplog.text
