"""How Kafka is started."""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64decode

import pytest

from prompt_processing.services.kafka import _make_cluster_id


@pytest.mark.parametrize("drawn", [b"\xf8" + bytes(15), bytes(16), b"\xff" * 16])
def test_cluster_id_is_never_taken_for_an_option(monkeypatch: pytest.MonkeyPatch, drawn: bytes) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=drawn))
    cluster = _make_cluster_id()
    assert not cluster.startswith("-")
    assert len(urlsafe_b64decode(cluster + "==")) == 16
