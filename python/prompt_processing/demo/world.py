"""The world around the workers: services, central repository and their settings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import yaml

from prompt_processing.butler.collections import Collections
from prompt_processing.butler.pipelines.files import pipelines_folder
from prompt_processing.domain.clock import night as night_of
from prompt_processing.repository.central import make_central_repository
from prompt_processing.repository.content import simulated_content
from prompt_processing.simulation.night import Night
from prompt_processing.transport.s3 import make_s3_client

from .embedded import USERS_BUCKET
from .surroundings import Companions, Folders, RepositoryPlace, Surroundings

__all__ = ["World", "make_repository"]

_PIPELINES = ("Preprocessing", "ApPipe", "SingleFrame", "Isr")
"""The preprocessing pipeline, then the main pipelines, best first."""


@dataclass(frozen=True, slots=True)
class World:
    """The running services and the settings that name them.

    Attributes
    ----------
    folders : `Folders`
        Folders of the demo.
    environment : mapping
        Settings for all processes.
    surroundings : `Surroundings`
        The services.
    companions : `Companions`
        Further settings for workers and for processes on the event stream.
    """

    folders: Folders
    environment: Mapping[str, str]
    surroundings: Surroundings
    companions: Companions

    @property
    def central_repository(self) -> str:
        """Path or URI of the central repository."""
        return self.environment["CENTRAL_REPO"]

    @property
    def alert_broker(self) -> str:
        """Bootstrap servers of the alert stream."""
        return self.environment["AP_KAFKA_SERVER"]

    def output_collection(self) -> str:
        """Return the chain of tonight's outputs."""
        return Collections(self.environment["RUBIN_INSTRUMENT"]).output_chain(night_of(time.time()))


def make_repository(night: Night, endpoint_url: str, place: RepositoryPlace) -> dict[str, str]:
    """Make the central repository of a night, and fill the tester's pool of raws.

    Returns
    -------
    environment : `dict` [`str`, `str`]
        Variables that name the repository and its contents.
    """
    instrument = night.camera.name
    pipelines = pipelines_folder(instrument)
    with ThreadPoolExecutor(1) as meanwhile:
        filled = meanwhile.submit(_fill_pool, night, endpoint_url)
        make_central_repository(
            place.root,
            night.camera,
            simulated_content(night),
            pipelines=[str(pipelines / f"{name}.yaml") for name in _PIPELINES],
            database=place.database,
            datastore=place.datastore,
            namespace=place.namespace,
        )
        filled.result()
    return {
        "RUBIN_INSTRUMENT": instrument,
        "SKYMAP": night.sky_map.name,
        "CENTRAL_REPO": place.root,
        "PREPROCESSING_PIPELINES_CONFIG": yaml.safe_dump(
            [{"survey": "SURVEY", "pipelines": [str(pipelines / "Preprocessing.yaml")]}]
        ),
        "MAIN_PIPELINES_CONFIG": yaml.safe_dump(
            [{"survey": "SURVEY", "pipelines": [str(pipelines / f"{name}.yaml") for name in _PIPELINES[1:]]}]
        ),
    }


def _fill_pool(night: Night, endpoint_url: str) -> None:
    client = make_s3_client(endpoint_url, read_timeout=60.0)
    for path in sorted(night.pool.rglob("*")):
        if path.is_file():
            key = f"unobserved/{path.relative_to(night.pool)}"
            client.put_object(Bucket=USERS_BUCKET, Key=key, Body=path.read_bytes())
