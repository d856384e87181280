"""The systems around the service, stand-ins or real ones, as the demo sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from .processes import Processes

__all__ = ["ALERT_TOPIC", "NEXT_VISIT_TOPIC", "Folders", "RepositoryPlace", "Surroundings"]

ALERT_TOPIC = "alerts-simulated"
NEXT_VISIT_TOPIC = "next-visit-topic"


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the demo writes.

    Attributes
    ----------
    output : `~pathlib.Path`
        What stays: tables, pictures, logs, alerts.
    night : `~pathlib.Path`
        The simulated night.
    """

    output: Path
    night: Path

    @property
    def logs(self) -> Path:
        """A log for each process."""
        return self.output / "logs"

    @property
    def alerts(self) -> Path:
        """A file for each alert, as read back."""
        return self.output / "alerts"

    @property
    def pictures(self) -> Path:
        """Pictures."""
        return self.output / "pictures"

    @property
    def work(self) -> Path:
        """What is needed only while the services run."""
        return self.output / "work"

    @property
    def manifest(self) -> Path:
        """What the tester uploaded, and as what."""
        return self.output / "uploaded.jsonl"


@dataclass(frozen=True, slots=True)
class RepositoryPlace:
    """Where the central repository goes.

    Attributes
    ----------
    root : `str`
        Path or URI of the folder of ``butler.yaml``.
    database : `str`
        URL of the registry.
    datastore : `str`
        URI of the folder of the datasets.
    namespace : `str` or `None`
        The registry's schema in the database.
    """

    root: str
    database: str
    datastore: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Companions:
    """Processes beside the workers, by the settings that lead to them.

    Attributes
    ----------
    workers : mapping
        What workers are told.
    event_stream : mapping
        What those are told that publish or read announcements.
    """

    workers: Mapping[str, str] = field(default_factory=dict)
    event_stream: Mapping[str, str] = field(default_factory=dict)


class Surroundings(Protocol):
    """Kafka, S3, databases; a context that stops what it has started."""

    @property
    def description(self) -> str:
        """What is started, for people."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def start(self, processes: Processes, folders: Folders) -> dict[str, str]:
        """Start everything, with the topics and buckets that the system has, and make an APDB.

        Parameters
        ----------
        processes : `~prompt_processing.demo.processes.Processes`
            Where further processes are started.
        folders : `Folders`
            Where files go.

        Returns
        -------
        environment : `dict` [`str`, `str`]
            Names all of them, for every process of the demo.

        Raises
        ------
        ~prompt_processing.demo.processes.ProcessFailedError
            One of them does not start.
        """
        ...

    def repository_place(self, folders: Folders) -> RepositoryPlace:
        """Tell where the central repository goes."""
        ...

    def start_companions(
        self, processes: Processes, folders: Folders, central_repository: str, instrument: str
    ) -> Companions:
        """Start what stands between the workers and the rest, once there is a central repository.

        Raises
        ------
        ~prompt_processing.demo.processes.ProcessFailedError
            One of them does not start.
        """
        ...

    def await_outputs(self) -> None:
        """Wait until all that workers have handed over is in the central repository.

        Raises
        ------
        ~prompt_processing.demo.processes.ProcessFailedError
            It takes too long.
        """
        ...
