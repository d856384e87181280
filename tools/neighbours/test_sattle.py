"""Our client of the satellite filter, and Sattle's own request handlers."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
from astropy.time import Time
from checkouts import Neighbours, Running
from dia_field import DiaField

from prompt_processing.association.satellites import SatelliteService
from prompt_processing.services.service import free_port


@pytest.mark.parametrize("n", [1, 9])
def test_sattle_allows_what_its_satellite_does_not_touch(
    neighbours: Neighbours, tmp_path: Path, n: int
) -> None:
    field = DiaField(ra0=30.0)
    ra, dec = (np.asarray(one) for one in field.grid(9))
    port = free_port()
    python = neighbours.path("sattle", "python")
    # Along the upper row, or beside all sources.
    declination = dec.max() if n > 1 else dec.max() + 0.2
    track = (ra.min() - 0.01, declination, ra.max() + 0.01, declination + 1e-6)
    command = neighbours.command("sattle_server.py", python, port, *track)
    with neighbours.running(command, neighbours.environment(), tmp_path / "theirs.log") as running:
        running.wait_for(lambda _: listens(port))
        service = SatelliteService(f"http://127.0.0.1:{port}", field.visit_info(0), now=field_time(field))
        offsets = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 3600
        corners = np.stack([ra[:n], dec[:n]], axis=1)[:, None, :] + offsets
        allowed = service.allowed(np.arange(n) + 100, corners)
        assert_known(running)
    if n == 1:
        assert allowed.all()
    else:
        # Its tracks are 0.02 degrees wide; the field is 0.014 degrees high.
        assert not allowed[dec == dec.max()].any()


def field_time(field: DiaField) -> Time:
    return Time(field.first_mjd + 0.01, format="mjd", scale="tai")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def assert_known(running: Running) -> None:
    assert running.process.poll() is None, running.text()
