"""The interface of the systems around the service, stand-ins or real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from prompt_processing.domain import night_folder

from .processes import Processes

__all__ = ["ALERT_TOPIC", "NEXT_VISIT_TOPIC", "Folders", "RepositoryPlace", "Surroundings"]

ALERT_TOPIC = "alerts-simulated"
NEXT_VISIT_TOPIC = "next-visit-topic"


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders of the demo.

    Attributes
    ----------
    output : `~pathlib.Path`
        Results: tables, pictures, logs, alerts.
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
        """The alerts as read back, one file each."""
        return self.output / night_folder.ALERTS

    @property
    def pictures(self) -> Path:
        """Pictures."""
        return self.output / "pictures"

    @property
    def outcomes(self) -> Path:
        """Outcomes as the workers publish them."""
        return self.output / night_folder.OUTCOMES

    @property
    def night_database(self) -> Path:
        """Database of the night, for the pages that show it."""
        return self.output / night_folder.DATABASE

    @property
    def work(self) -> Path:
        """Files that are needed only while the services run."""
        return self.output / "work"

    @property
    def manifest(self) -> Path:
        """The tester's list of uploaded raws."""
        return self.output / "uploaded.jsonl"


@dataclass(frozen=True, slots=True)
class RepositoryPlace:
    """Location of the central repository.

    Attributes
    ----------
    root : `str`
        Path or URI of the folder with ``butler.yaml``.
    database : `str`
        URL of the registry.
    datastore : `str`
        URI of the folder with the datasets.
    namespace : `str` or `None`
        The registry's schema in the database.
    """

    root: str
    database: str
    datastore: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Companions:
    """Settings that lead to the processes beside the workers.

    Attributes
    ----------
    workers : mapping
        Settings for workers.
    event_stream : mapping
        Settings for processes that publish or read announcements.
    """

    workers: Mapping[str, str] = field(default_factory=dict)
    event_stream: Mapping[str, str] = field(default_factory=dict)


class Surroundings(Protocol):
    """Kafka, S3 and databases; a context that stops them at its end."""

    @property
    def description(self) -> str:
        """The name of the starting step in the demo's output."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def start(self, processes: Processes, folders: Folders) -> dict[str, str]:
        """Start everything, create the topics and buckets, and make an APDB.

        Parameters
        ----------
        processes : `~prompt_processing.demo.processes.Processes`
            Where further processes are started.
        folders : `Folders`
            Where files go.

        Returns
        -------
        environment : `dict` [`str`, `str`]
            Variables that name the services, for every process of the demo.

        Raises
        ------
        ~prompt_processing.demo.processes.ProcessFailedError
            A service does not start.
        """
        ...

    def repository_place(self, folders: Folders) -> RepositoryPlace:
        """Return the location of the central repository."""
        ...

    def start_companions(
        self, processes: Processes, folders: Folders, central_repository: str, instrument: str
    ) -> Companions:
        """Start the processes between the workers and the central repository, which exists by then.

        Raises
        ------
        ~prompt_processing.demo.processes.ProcessFailedError
            A service does not start.
        """
        ...

    def await_outputs(self) -> None:
        """Wait until all outputs of the workers are in the central repository.

        Raises
        ------
        ~prompt_processing.demo.processes.ProcessFailedError
            It takes too long.
        """
        ...
