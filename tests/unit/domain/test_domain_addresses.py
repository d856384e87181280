"""Hosts and ports as operators write them."""

from __future__ import annotations

import pytest

from prompt_processing.domain.addresses import split_address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("redis", ("redis", 6379)),
        ("redis:1", ("redis", 1)),
        (" redis:65535\n", ("redis", 65535)),
        ("127.0.0.1:6380", ("127.0.0.1", 6380)),
        ("[::1]", ("::1", 6379)),
        ("[::1]:6380", ("::1", 6380)),
    ],
)
def test_address_is_split_at_its_port(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address, 6379) == expected


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":6379",
        "[]",
        "redis:",
        "redis:0",
        "redis:65536",
        "redis:1000000",
        "redis:-1",
        "redis:six",
        "redis:²",
        "::1",
        "::1]:6379",
        "[::1",
        "user:secret@redis:6379",
        "redis://redis:6379",
    ],
)
def test_anything_else_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(ValueError, match="not of the form") as raised:
        split_address(address, 6379)
    assert not address or address not in str(raised.value)
