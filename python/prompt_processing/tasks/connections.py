"""What a process is connected to outside, and keeps from visit to visit: tasks read no environment."""

from __future__ import annotations

from dataclasses import dataclass, field

from prompt_processing.alerts.connection import AlertConnection
from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.apdb.connection import ApdbConnection

__all__ = ["Connections"]


@dataclass(frozen=True, slots=True)
class Connections:
    """The connections of a process.

    Attributes
    ----------
    apdb : `~prompt_processing.apdb.connection.ApdbConnection`
        To the APDB.
    alerts : `~prompt_processing.alerts.connection.AlertConnection`
        To the broker of the alerts.
    apdb_uri : `str`
        URI of the APDB's configuration, for tasks whose own configuration names none.
    alert_stream : `~prompt_processing.alerts.stream_settings.AlertStreamSettings`
        Where alerts go.
    mp_sky_url : `str`
        Service that predicts positions of solar system objects, for tasks whose own configuration names
        none; empty for none.
    """

    apdb: ApdbConnection = field(default_factory=ApdbConnection)
    alerts: AlertConnection = field(default_factory=AlertConnection)
    apdb_uri: str = ""
    alert_stream: AlertStreamSettings = field(default_factory=AlertStreamSettings)
    mp_sky_url: str = ""
