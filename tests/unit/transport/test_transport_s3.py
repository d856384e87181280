"""Buckets are named as operators and `lsst.resources` name them."""

from __future__ import annotations

import pytest

from prompt_processing.transport.s3 import split_bucket


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
