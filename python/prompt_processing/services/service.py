"""What every kind of server has in common."""

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
"""All servers listen here only."""


class Service(BaseModel, ABC):
    """One server: where it is, what its credentials are, and how it is started.

    Its fields are what a client needs, and what is kept between ``up`` and ``down``.

    Attributes
    ----------
    folder : `~pathlib.Path`
        For its configuration and data.
    """

    name: ClassVar[str]
    """For the command line and for log files."""

    folder: Path

    @abstractmethod
    def prepare(self, software: Software) -> None:
        """Make what has to be there before the first start; harmless when repeated.

        Parameters
        ----------
        software : `~prompt_processing.services.software.Software`
            Finds programs.
        """

    @abstractmethod
    def command(self, software: Software) -> ServerCommand:
        """Tell how to start it.

        Parameters
        ----------
        software : `~prompt_processing.services.software.Software`
            Finds programs.

        Returns
        -------
        command : `ServerCommand`
            The command.
        """

    @abstractmethod
    def ready(self) -> bool:
        """Tell whether it answers."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return the settings of clients, credentials included."""

    @abstractmethod
    def address(self) -> str:
        """Return where it is, for people, without credentials."""

    def set_up(self) -> None:
        """Make what has to be there before anybody uses it, once it answers; harmless when repeated."""

    def remove(self) -> None:
        """Remove what it keeps outside its folder."""


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Tell whether anybody accepts connections on a port."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False
