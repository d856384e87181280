"""Settings of the worker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from prompt_processing.domain.addresses import split_address
from prompt_processing.domain.selection import PipelineSelection
from prompt_processing.domain.yaml_text import parse_yaml
from prompt_processing.instruments.camera import camera_names, load_camera
from prompt_processing.settings.alerts import AlertSettings
from prompt_processing.settings.buckets import has_known_profile
from prompt_processing.settings.kafka import (
    CaFile,
    KafkaClusterSettings,
    KafkaVariables,
    Mechanism,
    Protocol,
)
from prompt_processing.settings.outcomes import OutcomeSettings
from prompt_processing.settings.pipelines import parse_selection
from prompt_processing.settings.platform import PlatformSettings
from prompt_processing.transport.kafka import KafkaSettings

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_TYPE_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)

_LEVELS = ("TRACE", "VERBOSE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _parse_selection(value: Any) -> Any:
    return parse_selection(value) if isinstance(value, str) else value


def _read_list(text: str, items: str, usable: Callable[[Any], object]) -> tuple[Any, ...]:
    """Read a YAML list of usable items; the error names them."""
    found = parse_yaml(text)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(usable(one) for one in found):
        raise ValueError(f"not a YAML list of {items}")
    return tuple(found)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _parse_patterns(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    patterns = _read_list(value, "regular expressions", lambda one: isinstance(one, str))
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    return patterns


def _require_type_names(names: Iterable[Any]) -> None:
    for name in names:
        if not isinstance(name, str) or not _TYPE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a dataset type")


def parse_renamed_types(text: str) -> dict[str, str]:
    """Read a YAML mapping of names of dataset types to other names.

    Raises
    ------
    ValueError
        Raised if the text is anything else.
    """
    names = parse_yaml(text)
    if names is None:
        return {}
    if not isinstance(names, dict):
        raise ValueError("not a YAML mapping of names to names")
    _require_type_names((*names, *names.values()))
    if len(set(names.values())) < len(names):
        raise ValueError("two dataset types have the same name")
    return names


def _parse_names(value: Any) -> Any:
    return parse_renamed_types(value) if isinstance(value, str) else value


def _parse_type_names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    names = _read_list(value, "dataset types", lambda one: True)
    _require_type_names(names)
    return names


def _parse_collections(value: Any) -> Any:
    return _read_list(value, "collections", _is_text) if isinstance(value, str) else value


def _parse_levels(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    levels = {}
    for word in value.split():
        name, separator, level = word.rpartition("=")
        if not separator or not name or level.upper() not in _LEVELS:
            raise ValueError(f"{word!r} is not of the form logger=LEVEL with a level of {', '.join(_LEVELS)}")
        levels[name] = level.upper()
    return levels


def _known_instrument(value: str) -> str:
    if value not in camera_names():
        raise ValueError(f"{value!r} is not one of {', '.join(camera_names())}")
    # A faulty description is reported at the start, like a faulty setting.
    load_camera(value)
    return value


def _is_address(value: str) -> str:
    split_address(value, 6379)
    return value


Selection = Annotated[PipelineSelection, NoDecode, BeforeValidator(_parse_selection)]
Patterns = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_patterns)]
TypeNames = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_type_names)]
CollectionNames = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_collections)]
RenamedTypes = Annotated[dict[str, str], NoDecode, BeforeValidator(_parse_names)]
Levels = Annotated[dict[str, str], NoDecode, BeforeValidator(_parse_levels)]


class Settings(PlatformSettings, OutcomeSettings, AlertSettings, KafkaClusterSettings):
    """Settings of the worker; each is the environment variable of the same name in capitals.

    ``KAFKA_CLUSTER`` is the cluster with the arrival notices.
    """

    rubin_instrument: Annotated[str, AfterValidator(_known_instrument)]
    """Short name of the instrument whose visits are processed."""
    skymap: str
    """Sky map of the templates."""

    central_repo: str
    """URI of the Butler repository for outputs."""
    read_central_repo: str = ""
    """URI of the Butler repository for inputs; ``CENTRAL_REPO`` by default."""
    input_collections: CollectionNames = ()
    """Collections in which inputs are looked for, a YAML list in order. By default ``<I>/defaults``, and
    those of ``<I>/calib``, ``<I>/templates``, ``refcats`` and ``skymaps`` that are not part of it."""
    dataset_type_names: RenamedTypes = Field(default_factory=dict)
    """Names that dataset types of the pipelines have in the repository, a YAML mapping such as
    ``{reference_stars: the_monster_20250219}``. Outputs whose names the repository has for something else are
    named ``prompt_<name>`` by default."""
    preload_dataset_types: TypeNames = ()
    """Dataset types to copy with the inputs although no pipeline reads them, such as ``ptc``; a YAML list. By
    default they are left in the central repository."""
    local_repo_config: str | None = None
    """URI of a YAML file that overrides the Butler configuration of the local repository, such as the
    compression of images. Names of files and the kind of datastore cannot be overridden."""
    local_repo_cache_size: int = Field(default=3, ge=0)
    """Number of different calibrations of each type that stay in the local repository between visits."""
    repo_retry_delay: NonNegative = 30.0
    """Mean delay in seconds before a failed call to a repository is repeated."""

    image_bucket: Annotated[str, AfterValidator(has_known_profile)]
    """Bucket in which raw images arrive, or its URI with a profile: ``s3://profile@bucket``."""
    s3_endpoint_url: str | None = None
    """URL of the S3 store; AWS by default."""
    lsst_disable_bucket_validation: bool = False
    """Whether bucket names outside the S3 standard are allowed, such as Ceph's tenant buckets."""
    raw_microservice: str | None = None
    """Base URL of the raw microservice, which reports arrived raws."""
    bucket_topic: str
    """Topic of the arrival notices."""
    bucket_notification_kafka_offset_reset: Literal["latest", "earliest"] = "latest"
    """Which notices a visit reads: those published after its start, or all."""
    image_timeout: NonNegative = 20.0
    """Seconds to wait for images, in addition to twice the visit's duration."""
    preload_padding: NonNegative = 30.0
    """Margin around the detector in arcseconds, for which inputs are loaded."""

    preprocessing_pipelines_config: Selection
    """Pipelines to run before images arrive, a YAML list of nodes."""
    main_pipelines_config: Selection
    """Pipelines to run on the images, a YAML list of nodes."""
    config_apdb: str
    """URI of the APDB's configuration."""
    debug_export_outputs: bool = True
    """Whether to hand outputs over to the central repository."""
    export_type_regexp: Patterns = (".*",)
    """Dataset types to hand over, a YAML list of regular expressions."""

    worker_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 900.0
    """Time limit for a visit, in seconds."""
    worker_restart_freq: int = Field(default=0, ge=0)
    """Number of visits after which a worker is replaced by a new one; 0 for never."""
    worker_grace_period: NonNegative = 30.0
    """Seconds that a worker has to stop after a signal."""
    message_expiration: NonNegative = 3600.0
    """Age in seconds after which a visit is stale."""
    service_log_levels: Levels = Field(default_factory=dict)
    """Log levels, blank-separated ``logger=LEVEL``; ``.`` is the root logger."""

    central_iers_cache: str | None = None
    """URI of a ZIP archive of IERS tables that is imported at the start; by default astropy's own tables are
    used."""
    sattle_uri_base: str | None = None
    """Base URI (``http://`` or ``https://``) of the Sattle service. If it is set, sources at the position of
    a satellite are removed from all catalogues and have no alert, and a visit fails if the service does not
    answer."""
    mp_sky_url: str | None = None
    """URL of the service that predicts positions of solar system objects."""
    sasquatch_url: str | None = None
    """REST proxy that metrics go to; none by default."""
    sasquatch_token: SecretStr | None = None
    """Token for the REST proxy."""
    daf_butler_sasquatch_namespace: str = "lsst.prompt"
    """Namespace of the metrics' topics."""

    redis_stream_host: Annotated[str, AfterValidator(_is_address)] | None = None
    """``host`` or ``host:port`` of the Redis server with the streams of visits, for stream workers."""
    redis_stream_name: str | None = None
    """Redis stream; ``instrument:<lower-case name>`` by default."""
    redis_stream_consumer_group: str | None = None
    """Consumer group; ``<lower-case name>_consumer_group`` by default."""
    redis_retry_delay: NonNegative = 30.0
    """Seconds before a failed call to Redis is repeated."""
    redis_stream_claim_idle: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """Seconds without a refreshed claim after which another worker takes a visit over."""
    fanned_out_msg_listen_timeout: NonNegative = 300.0
    """Seconds without a visit after which a stream worker ends."""

    use_kafka_butler_writer: bool = False
    """Whether the writer service enters outputs into the central repository."""
    butler_writer_kafka_cluster: str | None = None
    """Bootstrap servers of the writer service's Kafka cluster."""
    butler_writer_kafka_username: SecretStr | None = None
    """User of that cluster (SASL)."""
    butler_writer_kafka_password: SecretStr | None = None
    """Password of that user."""
    butler_writer_kafka_security_protocol: Protocol | None = None
    """Security protocol of that cluster; ``SECURITY_PROTOCOL`` by default."""
    butler_writer_kafka_sasl_mechanism: Mechanism | None = None
    """SASL mechanism of that cluster; ``SASL_MECHANISM`` by default."""
    butler_writer_kafka_ca_file: CaFile | None = None
    """Certificate authorities of that cluster; ``SSL_CA_FILE`` by default."""
    butler_writer_kafka_topic: str | None = None
    """Topic that the writer service reads."""

    port: int = Field(default=8080, ge=0, lt=65536)
    """Port of ``/next-visit``."""
    metrics_port: int = Field(default=8000, ge=0, lt=65536)
    """Port on which ``/metrics`` and ``/health`` answer while all workers are busy; 0 for none."""
    web_concurrency: int = Field(default=1, ge=1)
    """Number of worker processes; each processes one visit at a time."""
    worker_count: int | None = Field(default=None, ge=1)
    """The same, under the name that it has in the observatory's worker; it overrides ``WEB_CONCURRENCY``."""

    @property
    def processes(self) -> int:
        """Number of worker processes."""
        return self.worker_count or self.web_concurrency

    writer_variables: ClassVar[KafkaVariables] = KafkaVariables(
        "butler_writer_kafka_cluster",
        credentials=(("butler_writer_kafka_username", "butler_writer_kafka_password"),),
        security_protocol=("butler_writer_kafka_security_protocol", "security_protocol"),
        mechanism=("butler_writer_kafka_sasl_mechanism", "sasl_mechanism"),
        ca_file=("butler_writer_kafka_ca_file", "ssl_ca_file"),
    )
    kafka_clients: ClassVar[tuple[KafkaVariables, ...]] = (
        *KafkaClusterSettings.kafka_clients,
        *AlertSettings.kafka_clients,
        writer_variables,
    )

    @property
    def writer_kafka(self) -> KafkaSettings | None:
        """Connection to the writer service's cluster; `None` if it is not configured."""
        return self.writer_variables.settings(vars(self))

    @property
    def input_repo(self) -> str:
        """URI of the repository for inputs."""
        return self.read_central_repo or self.central_repo

    @classmethod
    def problems_between(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Check that enabled services have addresses; see `EnvironmentSettings.problems_between`."""
        yield from super().problems_between(values)
        sattle = values.get("sattle_uri_base")
        if sattle and not str(sattle).startswith(("http://", "https://")):
            yield "sattle_uri_base", "does not begin with http:// or https://"
        if str(values.get("use_kafka_butler_writer", "")).lower() in ("1", "true", "yes", "on", "t", "y"):
            for name in ("butler_writer_kafka_cluster", "butler_writer_kafka_topic"):
                if not values.get(name):
                    yield name, "not set, but USE_KAFKA_BUTLER_WRITER is"
