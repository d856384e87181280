"""Base of all servers."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from .server import ServerCommand
from .software import Software

__all__ = ["HOST", "Service", "free_port", "listens"]

HOST = "127.0.0.1"
"""Only address that the servers listen on."""


class Service(BaseModel, ABC):
    """One server: its address, its credentials and its command.

    The fields hold what clients need, and are kept between ``up`` and ``down``.

    Attributes
    ----------
    folder
        Folder for configuration and data.
    """

    name: ClassVar[str]
    """Name on the command line and of the log file."""

    folder: Path

    @abstractmethod
    def prepare(self, software: Software) -> None:
        """Create everything that the first start requires; harmless when repeated.

        Parameters
        ----------
        software
            Finds programs.
        """

    @abstractmethod
    def command(self, software: Software) -> ServerCommand:
        """Return the command that starts the server.

        Parameters
        ----------
        software
            Finds programs.

        Returns
        -------
        command
            Command that starts the server.
        """

    @abstractmethod
    def ready(self) -> bool:
        """Return whether the server responds."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return the settings of clients, credentials included."""

    @abstractmethod
    def address(self) -> str:
        """Return the address for display, without credentials."""

    def set_up(self) -> None:
        """Create everything that clients require, once the server responds; harmless when repeated."""

    def remove(self) -> None:
        """Remove files that the server keeps outside its folder."""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Return whether a server accepts connections on a port."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False
