"""Show the demo's night in a browser while it happens."""

from __future__ import annotations

import socket
import time
from importlib.util import find_spec

import requests

from prompt_processing.services.service import free_port

from .processes import Processes, ProcessFailedError
from .world import World

__all__ = ["can_show_night", "show_night"]

_PORT = 5006
_PATIENCE_S = 120.0


def can_show_night() -> bool:
    """Return whether the packages of the navigator are installed."""
    return find_spec("panel") is not None


def show_night(world: World, processes: Processes) -> str:
    """Start the projector and the navigator, which show the central repository, the APDB and the alerts.

    Parameters
    ----------
    world
        The running services.
    processes
        Where both are started.

    Returns
    -------
    address
        Address of the page, which answers.

    Raises
    ------
    ProcessFailedError
        Raised if the navigator does not start.
    """
    folders = world.folders
    database = str(folders.night_database)
    # The fan-out makes the folder with its first message; pages need the database before.
    folders.outcomes.mkdir(parents=True, exist_ok=True)
    projector = ["prompt", "nights", "project", "--folder", str(folders.outcomes), "--database", database]
    # The demo has processes that use the default port of health checks.
    processes.start("projector", projector, {"METRICS_PORT": "0"})
    port = _PORT if _is_free(_PORT) else free_port()
    navigator = processes.start(
        "navigator",
        [
            *("prompt", "navigator", "--port", str(port)),
            *("--repo", world.central_repository, "--nights", database),
            *("--apdb", world.environment["CONFIG_APDB"], "--alerts", str(folders.alerts)),
        ],
    )
    address = f"http://localhost:{port}/"
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        navigator.check()
        try:
            if requests.get(f"{address}health/live", timeout=5).ok:
                return address
        except requests.RequestException:
            # Not listening yet.
            pass
        if time.monotonic() > deadline:
            raise ProcessFailedError(f"The navigator does not answer; see {navigator.log}")
        time.sleep(0.2)


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
