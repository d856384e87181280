"""Values of the workers: Phalanx's chart ``prompt-keda``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .forms import flag, further_ports, number, one_line, whole, without_scraping
from .rules import Conversion, Left, Rule, To, changed, convert_tree, merge_values, value_at

__all__ = ["RULES", "convert_worker"]

_IMAGE = (
    "Names an image of other software. Set `image.repository` and `image.tag` to a release of this project."
)
_SCALING = ("default", "accurate", "eager")

_DEFAULTS: dict[str, Any] = {
    "worker": {"grace_period": 45},
    "instrument": {"transferScale": 3},
    "s3": {"auth_env": False, "cred_file_auth": True, "checksum": "WHEN_REQUIRED"},
    "sasquatch": {"auth_env": True},
    "keda": {
        "minReplicaCount": 3,
        "maxReplicaCount": 10,
        "scalingStrategy": "eager",
        "successfulJobsHistoryLimit": 25,
        "failedJobsHistoryLimit": 25,
        "redisStreams": {"msgListenTimeout": 900, "activationLagCount": "1"},
    },
    "initializer": {"timeout": 300, "retries": 6, "cleanup_delay": 3600},
}
"""What that chart does where a site says nothing, and ours does otherwise."""

_SECRET_KEYS = {
    "alert_kafka_password": "alert_stream_pass",
    "butler_writer_kafka_password": "butler-writer-password",
}

_EGRESS_PORTS = (80, 443, 3666, 5432, 6379, 8080, 9092, 9093, 9094)
_CASSANDRA_PORT = 9042


def _strategy(value: Any) -> str:
    if value not in _SCALING:
        raise ValueError(f"the strategies are {', '.join(_SCALING)}")
    return str(value)


def _schedule(zone: Any) -> str:
    hour = -whole(zone) % 24
    return f"5 {hour},{(hour + 9) % 24} * * *"


RULES: dict[str, Rule] = {
    "image.repository": Left(_IMAGE),
    "image.pullPolicy": To("image.pullPolicy"),
    "image.tag": Left(_IMAGE),
    "worker.restart": To("worker.restartFrequency", whole),
    "worker.timeout": To("worker.timeout", number),
    "worker.grace_period": To("worker.gracePeriod", number),
    "instrument.name": To("instrument.name"),
    "instrument.pipelines.main": To("instrument.pipelines.main"),
    "instrument.pipelines.preprocessing": To("instrument.pipelines.preprocessing"),
    "instrument.skymap": To("instrument.skymap"),
    "instrument.preloadPadding": To("instrument.preloadPadding", number),
    "instrument.centralRepo": To("repository.central"),
    "instrument.readRepo": To("repository.read"),
    "instrument.transferScale": To("repository.transfers", whole),
    "instrument.localRepoConfig": To("repository.localConfig"),
    "instrument.repoWait": To("repository.retryDelay", number),
    "instrument.exportTypes": To("export.types"),
    "cache.baseSize": To("repository.cacheSize", whole),
    "s3.imageBucket": To("images.bucket"),
    "s3.endpointUrl": To("images.endpointUrl"),
    "s3.auth_env": To("images.credentials", flag),
    "s3.cred_file_auth": To("images.credentialsFile", flag),
    "s3.aws_profile": To("images.profile"),
    "s3.disableBucketValidation": To("images.disableBucketValidation", flag),
    "s3.checksum": To("images.checksum"),
    "raw_microservice": To("images.rawMicroservice"),
    "mpSky_service": To("mpSky.url"),
    "iers_cache": To("iers.cache"),
    "imageNotifications.kafkaClusterAddress": To("notices.kafkaCluster"),
    "imageNotifications.topic": To("notices.topic"),
    "imageNotifications.consumerOffsetReset": To("notices.offsetReset"),
    "imageNotifications.imageTimeout": To("images.timeout", number),
    "apdb.config": To("apdb.config"),
    "alerts.username": To("alerts.username"),
    "alerts.server": To("alerts.server"),
    "alerts.topic": To("alerts.topic"),
    "registry.centralRepoFile": To("repository.files", flag),
    "logLevel": To("worker.logLevels", one_line),
    "sasquatch.endpointUrl": To("sasquatch.url"),
    "sasquatch.namespace": To("sasquatch.namespace"),
    "sasquatch.auth_env": To("sasquatch.token", flag),
    "sattle.uri_base": To("sattle.url"),
    "keda.minReplicaCount": To("keda.minReplicas", whole),
    "keda.maxReplicaCount": To("keda.maxReplicas", whole),
    "keda.scalingStrategy": To("keda.strategy", _strategy),
    "keda.pollingInterval": To("keda.pollingInterval", whole),
    "keda.successfulJobsHistoryLimit": To("keda.successfulJobsHistory", whole),
    "keda.failedJobsHistoryLimit": To("keda.failedJobsHistory", whole),
    "keda.redisStreams.host": To("redis.host"),
    "keda.redisStreams.streamName": To("redis.streamName"),
    "keda.redisStreams.consumerGroup": To("redis.consumerGroup"),
    "keda.redisStreams.retry": To("redis.retryDelay", number),
    "keda.redisStreams.msgListenTimeout": To("redis.listenTimeout", number),
    "keda.redisStreams.activationLagCount": To("keda.activationLagCount", whole),
    "keda.redisStreams.lagCount": To("keda.lagCount", whole),
    "keda.redisStreams.pendingEntriesCount": To("keda.pendingEntriesCount", whole),
    "keda.redisStreams.expiration": To("worker.messageExpiration", number),
    "initializer.image.repository": Left(
        "Can be left: one image has all processes, and the chart starts the initializer from `image`."
    ),
    "initializer.resources.cpuRequest": To("initializer.resources.requests.cpu"),
    "initializer.resources.cpuLimit": To("initializer.resources.limits.cpu"),
    "initializer.resources.memoryRequest": To("initializer.resources.requests.memory"),
    "initializer.resources.memoryLimit": To("initializer.resources.limits.memory"),
    "initializer.cron.day_obs_tz": To("initializer.schedule", _schedule),
    "initializer.cron.suspend": To("initializer.suspend", flag),
    "initializer.timeout": To("initializer.deadline", whole),
    "initializer.retries": To("initializer.retries", whole),
    "initializer.cleanup_delay": To("initializer.cleanupDelay", whole),
    "initializer.podAnnotations": To("initializer.podAnnotations", without_scraping),
    "butler_writer.enabled": To("export.writer.enabled", flag),
    "butler_writer.kafka_cluster": To("export.writer.kafkaCluster"),
    "butler_writer.kafka_username": To("export.writer.username"),
    "butler_writer.kafka_topic": To("export.writer.topic"),
    "nameOverride": To("nameOverride"),
    "fullnameOverride": To("fullnameOverride"),
    "debug.exportOutputs": To("export.enabled", flag),
    "debug.monitorDaxApdb": To("apdb.monitor", flag),
    "resources": To("resources"),
    "additionalVolumeMounts": To("additionalVolumeMounts"),
    "podAnnotations": To("podAnnotations", without_scraping),
    "affinity": To("affinity"),
    "nodeSelector": To("nodeSelector"),
    "tolerations": To("tolerations"),
}
"""What becomes of each value."""


def convert_worker(site: Mapping[str, Any]) -> Conversion:
    """Convert the values of ``prompt-keda``.

    Parameters
    ----------
    site
        Values of the chart, merged from all files of an environment.

    Returns
    -------
    conversion
        Values of our chart ``prompt-keda``.

    Raises
    ------
    ValuesError
        If a value has a form that it cannot have there.
    """
    values = merge_values(_DEFAULTS, site)
    conversion = convert_tree(values, RULES)
    # Theirs limits one attempt, ours all of them together.
    attempts = 1 + _whole_at(values, "initializer.retries", 6)
    conversion.put("initializer.deadline", _whole_at(values, "initializer.timeout", 300) * attempts)
    conversion.put("secretKeys", dict(_SECRET_KEYS))
    addresses = [
        value_at(values, path)
        for path in (
            "s3.endpointUrl",
            "raw_microservice",
            "mpSky_service",
            "imageNotifications.kafkaClusterAddress",
            "alerts.server",
            "sasquatch.endpointUrl",
            "sattle.uri_base",
            "keda.redisStreams.host",
            "butler_writer.kafka_cluster",
        )
    ]
    ports = further_ports(addresses, _EGRESS_PORTS)
    if "cassandra" in str(value_at(values, "apdb.config", "")).lower():
        ports.append(_CASSANDRA_PORT)
    if ports:
        conversion.put("networkPolicy.egressPorts", [*_EGRESS_PORTS, *ports])
    _remark(conversion, values)
    return conversion


def _whole_at(values: Mapping[str, Any], path: str, default: int) -> int:
    value = value_at(values, path)
    return default if value in (None, "") else changed(path, value, whole)


def _remark(conversion: Conversion, values: Mapping[str, Any]) -> None:
    conversion.remarks["secret db-auth_file"] = (
        "Add the key `db_auth`, the content of that file as JSON. The Butler refuses the file itself, as "
        "mounted Secrets are readable by others."
    )
    if value_at(values, "additionalVolumeMounts"):
        conversion.remarks["additionalVolumeMounts"] = (
            "Add the volumes that they mount to `additionalVolumes`."
        )
    if value_at(values, "keda.scalingStrategy") != "default":
        conversion.remarks["keda.redisStreams.pendingEntriesCount"] = (
            "Counts with `keda.strategy: default` only; the other strategies follow the lag."
        )
    if _whole_at(values, "initializer.cron.day_obs_tz", -12) != -12:
        conversion.remarks["initializer.cron.day_obs_tz"] = (
            "Sets the hours of `initializer.schedule`, but day_obs changes at 12:00 UTC here: check them."
        )
