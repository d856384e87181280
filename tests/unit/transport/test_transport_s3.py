"""Buckets are named as operators and `lsst.resources` name them."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError, ParamValidationError

from prompt_processing.transport.s3 import make_s3_client, split_bucket


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("raws", (None, "raws")),
        ("s3://raws/", (None, "raws")),
        ("s3://embargo@raws", ("embargo", "raws")),
        ("embargo@tenant:raws/", ("embargo", "tenant:raws")),
    ],
)
def test_address_has_a_profile_or_none(address: str, expected: tuple[str | None, str]) -> None:
    assert split_bucket(address) == expected


def test_names_of_ceph_tenants_are_refused_unless_validation_is_off() -> None:
    options = {"credentials": ("key", "secret"), "attempts": 1, "connect_timeout": 0.5}
    strict = make_s3_client("http://127.0.0.1:9", **options)
    with pytest.raises(ParamValidationError, match="tenant:raws"):
        strict.list_objects_v2(Bucket="tenant:raws")
    lenient = make_s3_client("http://127.0.0.1:9", validate_bucket_names=False, **options)
    with pytest.raises(EndpointConnectionError):
        lenient.list_objects_v2(Bucket="tenant:raws")


def test_client_gives_up_as_it_is_told_and_sends_no_checksums_that_stores_do_not_know() -> None:
    client = make_s3_client(
        "http://127.0.0.1:9", credentials=("key", "secret"), connect_timeout=1, read_timeout=2, attempts=4
    )
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (1, 2)
    assert config.retries["total_max_attempts"] == 4
    assert config.request_checksum_calculation == config.response_checksum_validation == "when_required"
