"""Settings of the fan-out: environment variables, and the file of detectors and destinations."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import NoDecode

from prompt_processing.settings.environment import problems_of
from prompt_processing.settings.kafka import KafkaClusterSettings, SchemaRegistrySettings
from prompt_processing.settings.outcomes import OutcomeSettings
from prompt_processing.settings.platform import Platform

from ..domain.addresses import split_address
from ..domain.visit import NextVisit
from ..domain.yaml_text import parse_yaml

__all__ = ["ConfigurationError", "DetectorMap", "FanOutSettings"]


_URL = re.compile(r"https?://[^/]", re.IGNORECASE)


class ConfigurationError(Exception):
    """The instrument configuration is unusable; the message names all errors."""


class FanOutSettings(OutcomeSettings, KafkaClusterSettings, SchemaRegistrySettings):
    """Settings of the fan-out; every variable has the upper-case name of its field."""

    supported_instruments: Annotated[frozenset[str], NoDecode] = Field(min_length=1)
    """Instruments whose visits are fanned out; blank-separated in the environment."""
    instrument_config_file: Path
    """YAML file of active detectors and destinations."""
    consumer_group: str
    """Consumer group, shared by all replicas of the fan-out, so that each visit is fanned out once."""
    next_visit_topic: str = "next-visit-topic"
    offset: Literal["earliest", "latest"] = "latest"
    """Where a consumer group without a committed offset begins; other groups continue at their offset."""
    standing_queue: Literal["keep", "flush"] = "keep"
    """What to do with visits that were on the topic before this process started: ``keep`` sends those that no
    worker has received and that are not stale, ``flush`` sends none."""
    message_expiration: float = Field(default=3600.0, gt=0)
    """Age in seconds after which a visit is stale and is not sent."""
    max_fan_out_messages: int = Field(default=1000, gt=0)
    """Largest number of visit-detectors that wait for an answer; when it is reached, no further visit is read
    from the topic."""
    retry_knative_requests: bool = False
    """Whether to send a visit again after an answer of 503, or after no answer."""
    platform: Platform = "knative"
    """Destination of visits: the services under ``knative-urls``, or the streams under ``redis-streams``."""
    redis_host: str = ""
    """``host`` or ``host:port`` of the Redis server; required with ``PLATFORM=keda``."""
    redis_retry_count: int = Field(default=3, ge=0)
    """How often a command of Redis is repeated on a new connection before it counts as failed; a visit that
    could not be added is tried again until it is stale."""
    redis_retry_initial_delay: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Seconds before the first repetition; doubled with each further one."""
    redis_retry_delay_cap: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    """Longest delay between repetitions, in seconds."""
    redis_health_check_interval: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    """Seconds without use after which a connection is tested with PING before its next command; 0 tests
    none."""
    debug_logs: bool = False
    """Whether the fan-out's log includes its DEBUG messages."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of the Prometheus metrics; 0 serves none."""
    shutdown_grace_s: float = Field(default=600.0, ge=0)
    """Seconds to wait for pending answers after a signal to stop."""

    @model_validator(mode="before")
    @classmethod
    def _split_instruments(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("supported_instruments"), str):
            values = {**values, "supported_instruments": frozenset(values["supported_instruments"].split())}
        return values

    @model_validator(mode="after")
    def _redis_is_named(self) -> "FanOutSettings":
        if self.platform == "keda" and not self.redis_host:
            raise ValueError("REDIS_HOST is required with PLATFORM=keda")
        if self.redis_host:
            try:
                split_address(self.redis_host, 6379)
            except ValueError as error:
                raise ValueError(f"REDIS_HOST is {error}") from error
        return self


def _empty_if_null(value: Any) -> Any:
    # A section without entries, such as that of the other platform.
    return {} if value is None else value


Destinations = Annotated[Mapping[str, str], BeforeValidator(_empty_if_null)]


class DetectorMap(BaseModel):
    """Active detectors of each instrument, and destinations of their visits."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    detectors: Mapping[str, Mapping[Annotated[int, Field(ge=0)], bool]]
    """Active detectors of each instrument, and of test groups as ``<INSTRUMENT>-TEST-<salIndex>``."""
    knative_urls: Destinations = Field(default={}, alias="knative-urls")
    redis_streams: Destinations = Field(default={}, alias="redis-streams")

    @classmethod
    def load(cls, path: Path) -> "DetectorMap":
        """Read the instrument configuration.

        Raises
        ------
        ConfigurationError
            If the file cannot be read or is malformed.
        """
        try:
            return cls.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            problems = (f"{where}: {what}".lstrip(": ") for where, what in problems_of(error).items())
            raise ConfigurationError(f"{path}: {'; '.join(problems)}") from error
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path}: {error}") from error

    def check(self, settings: FanOutSettings) -> None:
        """Check that each supported instrument has detectors and a usable destination.

        Raises
        ------
        ConfigurationError
            If any is missing or unusable; the message names all of them.
        """
        destinations = self.knative_urls if settings.platform == "knative" else self.redis_streams
        section = "knative-urls" if settings.platform == "knative" else "redis-streams"
        problems = [
            f"no {name} under {where}"
            for name in sorted(settings.supported_instruments)
            for where, entries in (("detectors", self.detectors), (section, destinations))
            if name not in entries
        ]
        problems += [
            f"{section}.{name} is {destination!r}, not an address"
            for name, destination in sorted(destinations.items())
            if name in settings.supported_instruments
            and not (destination if section == "redis-streams" else _URL.match(destination))
        ]
        if problems:
            raise ConfigurationError(f"{settings.instrument_config_file}: {'; '.join(problems)}")

    def active_detectors(self, visit: NextVisit) -> list[int]:
        """Return the detectors to send the visit for, in ascending order.

        Test groups, identified by their ``salIndex``, have raws of some detectors only, and a separate list.
        """
        test_group = f"{visit.instrument}-TEST-{visit.salIndex}"
        chosen = self.detectors.get(test_group, self.detectors.get(visit.instrument, {}))
        return sorted(detector for detector, active in chosen.items() if active)
