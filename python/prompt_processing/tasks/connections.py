"""What a process is connected to outside, and keeps from visit to visit."""

from __future__ import annotations

from dataclasses import dataclass, field

from prompt_processing.alerts.connection import AlertConnection
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
    """

    apdb: ApdbConnection = field(default_factory=ApdbConnection)
    alerts: AlertConnection = field(default_factory=AlertConnection)
