"""Settings of the fan-out: environment variables, and the file that says which detectors go where."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import NoDecode

from prompt_processing.settings.environment import problems_of
from prompt_processing.settings.kafka import KafkaClusterSettings, SchemaRegistrySettings

from ..domain.addresses import split_address
from ..domain.visit import NextVisit
from ..domain.yaml_text import parse_yaml

__all__ = ["ConfigurationError", "DetectorMap", "FanOutSettings"]


class ConfigurationError(Exception):
    """The instrument configuration cannot be used; the message names everything wrong."""


class FanOutSettings(KafkaClusterSettings, SchemaRegistrySettings):
    """Settings of the fan-out; every variable has the upper-case name of its field."""

    supported_instruments: Annotated[frozenset[str], NoDecode] = Field(min_length=1)
    """Instruments whose visits are sent on; blank-separated in the environment."""
    instrument_config_file: Path
    """The YAML file of `DetectorMap`."""
    consumer_group: str
    """Shared by all replicas of the fan-out, so that each visit is sent on once."""
    next_visit_topic: str = "next-visit-topic"
    offset: Literal["earliest", "latest"] = "latest"
    """Where a consumer group without a committed offset begins; one with goes on where it left off."""
    standing_queue: Literal["keep", "flush"] = "keep"
    """What to do with the visits that were on the topic before this process started: send on those that
    nobody has and that are not stale, or none."""
    message_expiration: float = Field(default=3600.0, gt=0)
    """Age in seconds past which a visit is not sent on any more."""
    max_fan_out_messages: int = Field(default=1000, gt=0)
    """How many visit-detectors may be awaiting their answer at once; with that many accepted, no further
    visit is taken from the topic."""
    retry_knative_requests: bool = False
    """Whether to send again what was answered with 503, or not at all."""
    platform: Literal["knative", "keda"] = "knative"
    """Where visits go: to the services under ``knative-urls``, or to the streams under ``redis-streams``."""
    redis_host: str = ""
    """``host`` or ``host:port`` of the Redis server; needed on the platform ``keda``."""
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
    """How long, after a signal to stop, answers still on their way are awaited."""

    @model_validator(mode="before")
    @classmethod
    def _split_instruments(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("supported_instruments"), str):
            values = {**values, "supported_instruments": frozenset(values["supported_instruments"].split())}
        return values

    @model_validator(mode="after")
    def _redis_is_named(self) -> "FanOutSettings":
        if self.platform == "keda" and not self.redis_host:
            raise ValueError("REDIS_HOST is needed with PLATFORM=keda")
        if self.redis_host:
            try:
                split_address(self.redis_host, 6379)
            except ValueError as error:
                raise ValueError(f"REDIS_HOST is {error}") from error
        return self


class DetectorMap(BaseModel):
    """Which detectors of which instrument are processed, and where their visits are sent."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    detectors: Mapping[str, Mapping[int, bool]]
    """Active detectors of each instrument, and of test groups as ``<INSTRUMENT>-TEST-<salIndex>``."""
    knative_urls: Mapping[str, str] = Field(default={}, alias="knative-urls")
    redis_streams: Mapping[str, str] = Field(default={}, alias="redis-streams")

    @classmethod
    def load(cls, path: Path) -> "DetectorMap":
        """Read the file.

        Raises
        ------
        ConfigurationError
            If it cannot be read, or is not what it should be.
        """
        try:
            return cls.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            problems = (f"{where}: {what}".lstrip(": ") for where, what in problems_of(error).items())
            raise ConfigurationError(f"{path}: {'; '.join(problems)}") from error
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path}: {error}") from error

    def check(self, settings: FanOutSettings) -> None:
        """Make sure that each supported instrument has detectors and a destination.

        Raises
        ------
        ConfigurationError
            Naming all that have not.
        """
        destinations = self.knative_urls if settings.platform == "knative" else self.redis_streams
        section = "knative-urls" if settings.platform == "knative" else "redis-streams"
        problems = [
            f"no {name} under {where}"
            for name in sorted(settings.supported_instruments)
            for where, entries in (("detectors", self.detectors), (section, destinations))
            if name not in entries
        ]
        if problems:
            raise ConfigurationError(f"{settings.instrument_config_file}: {'; '.join(problems)}")

    def active_detectors(self, visit: NextVisit) -> list[int]:
        """Return the detectors to send the visit for, in ascending order.

        Test groups, known by their ``salIndex``, have only raws of some detectors and a list of their own.
        """
        test_group = f"{visit.instrument}-TEST-{visit.salIndex}"
        chosen = self.detectors.get(test_group, self.detectors.get(visit.instrument, {}))
        return sorted(detector for detector, active in chosen.items() if active)
