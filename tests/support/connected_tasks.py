"""Tasks connected to the services of a test's environment, as in a worker."""

from __future__ import annotations

from prompt_processing.settings.alerts import ResendSettings
from prompt_processing.tasks.connected_task import ConnectedTask
from prompt_processing.tasks.connections import Connections


def connections_of_environment(mp_sky_url: str = "") -> Connections:
    settings = ResendSettings.load()
    return Connections(
        apdb_uri=settings.config_apdb or "", alert_stream=settings.alert_stream, mp_sky_url=mp_sky_url
    )


def connected[T: ConnectedTask](task: T, mp_sky_url: str = "") -> T:
    task.connections = connections_of_environment(mp_sky_url)
    return task
