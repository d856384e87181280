"""The night that ``prompt demo --keep`` left: what it is, and the services that still run."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from prompt_processing.butler.opening import open_repository
from prompt_processing.domain import night_folder

from ..errors import FlowError

__all__ = ["DemoNight", "find_demo_night", "in_environment"]

_TIMEOUT_S = 2.0
_DATE = len("2026-11-28")


@dataclass(frozen=True, slots=True)
class DemoNight:
    """A night of the demo.

    Attributes
    ----------
    folder
        Output folder of the demo.
    instrument
        Camera.
    chain
        Chain of the night's outputs.
    night
        Night in the name of that chain, YYYY-MM-DD.
    reported
        Night in the database of nights.
    observed
        Observing day in the headers and times of the camera.
    n_visits
        Number of visits.
    """

    folder: Path
    instrument: str
    chain: str
    night: str
    reported: str
    observed: str
    n_visits: int

    @property
    def repository(self) -> Path:
        """Repository of the kept outputs."""
        return self.folder / night_folder.REPOSITORY

    @property
    def apdb(self) -> str:
        """Configuration of the APDB."""
        return str(self.folder / "work" / "apdb.yaml")

    @property
    def alerts(self) -> Path:
        """Folder of the alerts."""
        return self.folder / night_folder.ALERTS

    @property
    def database(self) -> str:
        """Database of nights."""
        return str(self.folder / night_folder.DATABASE)

    def environment(self) -> dict[str, str]:
        """Return the variables of the worker's environment, from the demo's ``environment.sh``."""
        path = self.folder / "environment.sh"
        if not path.is_file():
            return {}
        words = shlex.split(path.read_text(encoding="utf-8"))
        pairs = (word.partition("=") for word in words if "=" in word)
        # Programs are those of this process.
        return {name: value for name, _, value in pairs if name != "PATH"}

    def stopped_service(self) -> str:
        """Return a service that the demo's environment names and that does not answer; empty if all do."""
        environment = self.environment()
        store = urlsplit(environment.get("S3_ENDPOINT_URL", ""))
        broker = urlsplit("//" + environment.get("KAFKA_CLUSTER", ""))
        for name, address in (("object store", store), ("Kafka broker", broker)):
            try:
                with socket.create_connection((address.hostname or "", address.port or 0), _TIMEOUT_S):
                    pass
            except OSError:
                return name
        return ""


def find_demo_night(folder: Path) -> DemoNight:
    """Return the last night that a folder of the demo has.

    Raises
    ------
    FlowError
        Raised if the folder has no night.
    """
    from prompt_processing.archive.nights import NightInterval
    from prompt_processing.domain.clock import day_text

    folder = folder.absolute()
    chain = _output_chain(folder / night_folder.REPOSITORY)
    instrument, _, rest = chain.partition("/")
    reported, first, n_visits = _last_night(folder / night_folder.DATABASE)
    observed = NightInterval.at(first, instrument)
    return DemoNight(
        folder, instrument, chain, rest[-_DATE:], day_text(reported), day_text(observed), n_visits
    )


@contextlib.contextmanager
def in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while; processes that are started meanwhile have them too."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _output_chain(repo: Path) -> str:
    """Return the last chain of a night's outputs."""
    from lsst.daf.butler import CollectionType  # type: ignore[attr-defined]

    from prompt_processing.butler.collections import Collections
    from prompt_processing.butler.types import use_butler_types

    use_butler_types()
    if not repo.is_dir():
        raise FlowError(f"{repo.parent} is not a night of the demo: run  prompt demo --keep  first")
    with open_repository(str(repo)) as butler:
        chains = butler.collections.query(
            Collections("*").output_chain("*"), collection_types={CollectionType.CHAINED}
        )
    if not chains:
        raise FlowError(f"{repo} has no outputs of a night")
    return str(max(chains, key=lambda name: name[-_DATE:]))


def _last_night(database: Path) -> tuple[int, float, int]:
    """Return the last night in the database of outcomes, the time of its first visit, and their number."""
    from prompt_processing.nights.reading import Nights, NightsUnavailableError

    try:
        found = Nights(str(database)).nights(1).rows if database.is_file() else ()
    except NightsUnavailableError as error:
        raise FlowError(f"{database} cannot be read: {error}") from error
    if not found:
        raise FlowError(f"{database} has no night: run  prompt demo --keep  first")
    return found[0].night, found[0].first, found[0].n_visits
