"""Values of the services around the workers: fan-out, Butler writer and Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .forms import flag, further_ports, number, ranges, redis_memory, whole, without_scraping, words
from .rules import Conversion, Left, Rule, To, changed, convert_tree, merge_values, value_at

__all__ = ["FAN_OUT", "REDIS", "WRITER", "convert_fan_out", "convert_redis", "convert_writer"]

_IMAGE = (
    "Names an image of other software. Set `image.repository` and `image.tag` to a release of this project."
)
_ARGO_CD = Left("Can be left: Argo CD sets it.")
_LATER = Left("", unless=())
"""Converted below, together with other values."""

_COMMON: dict[str, Rule] = {
    "image.repository": Left(_IMAGE),
    "image.pullPolicy": To("image.pullPolicy"),
    "image.tag": Left(_IMAGE),
    "nameOverride": To("nameOverride"),
    "fullnameOverride": To("fullnameOverride"),
    "podAnnotations": To("podAnnotations", without_scraping),
    "affinity": To("affinity"),
    "nodeSelector": To("nodeSelector"),
    "tolerations": To("tolerations"),
    "global.host": _ARGO_CD,
    "global.baseUrl": _ARGO_CD,
    "global.vaultSecretsPath": _ARGO_CD,
}

FAN_OUT: dict[str, Rule] = {
    **_COMMON,
    "platform": To("platform"),
    "knative.urls": To("knativeUrls"),
    "knative.maxMessages": _LATER,
    "knative.retryRequests": To("retryRequests", flag),
    "keda.redisHost": To("redisHost"),
    "keda.redisRetryDelayCap": To("redisRetryDelayCap", number),
    "keda.redisRetryInitialDelay": To("redisRetryInitialDelay", number),
    "keda.redisRetryCount": To("redisRetryCount", whole),
    "keda.redisHealthCheckInterval": To("redisHealthCheckInterval", number),
    "keda.redisStreams": To("redisStreams"),
    "kafka.summitSasquatchAuth": _LATER,
    "kafka.offset": To("kafka.offset"),
    "kafka.saslMechamism": _LATER,
    "kafka.securityProtocol": _LATER,
    "kafka.expiration": To("messageExpiration", number),
    "kafka.schemaRegistryUrl": To("kafka.schemaRegistryUrl"),
    "kafka.sasquatchAddress": To("kafka.cluster"),
    "kafka.consumerGroup": To("kafka.consumerGroup"),
    "kafka.nextVisitTopic": To("kafka.topic"),
    "replicaCount": To("replicas", whole),
    "resources": _LATER,
    "debug": To("debug", flag),
    "instruments": To("instruments", words),
    "detectorConfig": _LATER,
}

WRITER: dict[str, Rule] = {
    **_COMMON,
    "outputRepo": To("repository"),
    "kafka.clusterAddress": To("kafka.cluster"),
    "kafka.username": To("kafka.username"),
    "kafka.topic": To("kafka.topic"),
    "kafka.outputTopic": To("kafka.outputTopic"),
    "kafka.debug": To("kafka.debug", flag),
    "outputDatasetListDirectory": To("listDirectory"),
    "s3.endpointUrl": To("s3.endpointUrl"),
    "s3.aws_profile": To("s3.profile"),
    "s3.checksum": To("s3.checksum"),
    "logLevel": To("logLevel"),
    "resources.cpuRequest": To("resources.requests.cpu"),
    "resources.cpuLimit": To("resources.limits.cpu"),
    "resources.memoryRequest": To("resources.requests.memory"),
    "resources.memoryLimit": To("resources.limits.memory"),
}

_EXPORTER_IMAGE = Left("Can be left: the exporter is part of `serviceImage`.")

REDIS: dict[str, Rule] = {
    "redis.persistence.enabled": Left(
        "Visits are always stored. A claim of a volume is needed even for a test.", unless=(True,)
    ),
    "redis.persistence.size": To("storage.size"),
    "redis.persistence.storageClass": To("storage.className"),
    "redis.persistence.accessMode": To("storage.accessMode"),
    "redis.persistence.volumeClaimName": To("storage.existingClaim"),
    "redis.resources": To("resources"),
    "redis.affinity": To("affinity"),
    "redis.nodeSelector": To("nodeSelector"),
    "redis.podAnnotations": To("podAnnotations", without_scraping),
    "redis.tolerations": To("tolerations"),
    "redis-stream-exporter.enabled": To("streamExporter.enabled", flag),
    "redis-stream-exporter.sleepInterval": To("streamExporter.interval", number),
    "redis-stream-exporter.resources": To("streamExporter.resources"),
    "redis-stream-exporter.image": _EXPORTER_IMAGE,
    "redis-stream-exporter.replicaCount": Left("Can be left: one exporter sees all streams.", unless=(1,)),
    "redis-stream-exporter.auth.enabled": Left(
        "This Redis has no password; the network policy admits its clients only.", unless=(False,)
    ),
    **{
        f"redis-stream-exporter.{name}": Left(
            "The exporter follows the same value of Redis.", unless=({}, [])
        )
        for name in ("affinity", "nodeSelector", "podAnnotations", "tolerations")
    },
    "redis-stream-trim.enabled": To("streamTrim.enabled", flag),
    "redis-stream-trim.cronSchedule": To("streamTrim.schedule"),
    "redis-stream-trim.maxStreamLength": Left(
        "Can be left: settled visits are removed, whatever their number."
    ),
    "redis-stream-trim.image": Left("Can be left: the job is part of `serviceImage`."),
    "global.host": _ARGO_CD,
    "global.vaultSecretsPath": _ARGO_CD,
}

_FAN_OUT_DEFAULTS: dict[str, Any] = {
    "platform": "keda",
    "keda": {"redisHost": "prompt-redis.prompt-redis"},
    "kafka": {"summitSasquatchAuth": False, "saslMechamism": "SCRAM-SHA-512", "securityProtocol": "SASL_SSL"},
}
_FAN_OUT_PORTS = (80, 443, 6379, 8081, 9092, 9093, 9094)
_WRITER_DEFAULTS: dict[str, Any] = {"s3": {"checksum": "WHEN_REQUIRED"}}
_WRITER_PORTS = (80, 443, 5432, 9092, 9093, 9094)


def convert_fan_out(site: Mapping[str, Any]) -> Conversion:
    """Convert the values of ``next-visit-fan-out``.

    Parameters
    ----------
    site
        Merged values of the application.

    Returns
    -------
    conversion
        Values of our chart of the same name.

    Raises
    ------
    ValuesError
        If a value has a form that it cannot have there.
    """
    values = merge_values(_FAN_OUT_DEFAULTS, site)
    conversion = _converted(values, FAN_OUT)
    if value_at(values, "knative.maxMessages", "") != "":
        most = value_at(values, "knative.maxMessages")
        conversion.put("maxMessages", changed("knative.maxMessages", most, whole))
    if value_at(values, "resources"):
        conversion.put("resources", value_at(values, "resources"))
    login = value_at(values, "kafka.summitSasquatchAuth")
    if changed("kafka.summitSasquatchAuth", login, flag):
        conversion.put("kafka.mechanism", value_at(values, "kafka.saslMechamism"))
        conversion.put("kafka.securityProtocol", value_at(values, "kafka.securityProtocol"))
        conversion.remarks["kafka.summitSasquatchAuth"] = (
            "Set `kafka.username` to the user, and add its password to the Secret as `kafka_password`."
        )
    configured = changed("detectorConfig", value_at(values, "detectorConfig") or {}, dict)
    for name, detectors in configured.items():
        active = changed(f"detectorConfig.{name}", detectors or {}, _active)
        conversion.values.setdefault("detectors", {})[name] = ranges(active)
        conversion.values.setdefault("inactiveDetectors", {})[name] = sorted(
            one for one, on in active.items() if not on
        )
    paths = ("kafka.sasquatchAddress", "kafka.schemaRegistryUrl", "keda.redisHost")
    _open(conversion, [value_at(values, path) for path in paths], _FAN_OUT_PORTS)
    return conversion


def convert_writer(site: Mapping[str, Any]) -> Conversion:
    """Convert the values of ``butler-writer-service``.

    Parameters
    ----------
    site
        Merged values of the application.

    Returns
    -------
    conversion
        Values of our chart ``prompt-butler-writer``.

    Raises
    ------
    ValuesError
        If a value has a form that it cannot have there.
    """
    values = merge_values(_WRITER_DEFAULTS, site)
    conversion = _converted(values, WRITER)
    # That application always reads a file of credentials.
    conversion.put("s3.credentials", False)
    conversion.put("s3.credentialsFile", True)
    conversion.put("secretKeys", {"kafka_password": "butler-writer-password"})
    conversion.remarks["secret db-auth_file"] = (
        "Add the key `db_auth`, the content of that file as JSON. The Butler refuses the file itself, as "
        "mounted Secrets are readable by others."
    )
    paths = ("kafka.clusterAddress", "s3.endpointUrl")
    _open(conversion, [value_at(values, path) for path in paths], _WRITER_PORTS)
    return conversion


def convert_redis(site: Mapping[str, Any]) -> Conversion:
    """Convert the values of ``prompt-redis``.

    Parameters
    ----------
    site
        Merged values of the application.

    Returns
    -------
    conversion
        Values of our chart of the same name.

    Raises
    ------
    ValuesError
        If a value has a form that it cannot have there.
    """
    conversion = _converted(site, REDIS)
    limit = value_at(site, "redis.resources.limits.memory")
    if limit is not None:
        conversion.put("maxMemory", changed("redis.resources.limits.memory", limit, redis_memory))
    return conversion


def _active(detectors: Mapping[Any, Any]) -> dict[int, bool]:
    return {int(one): flag(on) for one, on in detectors.items()}


def _converted(values: Mapping[str, Any], rules: Mapping[str, Rule]) -> Conversion:
    conversion = convert_tree(values, rules)
    conversion.remarks = {path: why for path, why in conversion.remarks.items() if why}
    return conversion


def _open(conversion: Conversion, addresses: list[Any], allowed: tuple[int, ...]) -> None:
    if ports := further_ports(addresses, allowed):
        conversion.put("networkPolicy.egressPorts", [*allowed, *ports])
