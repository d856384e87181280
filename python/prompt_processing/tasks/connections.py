"""Connections of a process to outside systems, kept between visits. Tasks do not read the environment."""

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
    apdb
        Connection to the APDB.
    alerts
        Connection to the alert broker.
    apdb_uri
        URI of the APDB's configuration, for tasks that do not configure one.
    alert_stream
        Settings of the alert stream.
    mp_sky_url
        Service that predicts positions of solar-system objects, for tasks that do not configure one; empty
        for none.
    sattle_url
        Service that knows where satellites are, for tasks that do not configure one; empty for none.
    """

    apdb: ApdbConnection = field(default_factory=ApdbConnection)
    alerts: AlertConnection = field(default_factory=AlertConnection)
    apdb_uri: str = ""
    alert_stream: AlertStreamSettings = field(default_factory=AlertStreamSettings)
    mp_sky_url: str = ""
    sattle_url: str = ""
