"""A site's values for Phalanx's applications render with the charts of this project."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_fixtures import EverySecret, container_of, only
from click.testing import CliRunner

from prompt_delivery.deployment.helm import ChartTree
from prompt_delivery.deployment.manifests import read_manifests
from prompt_delivery.deployment.validation import validate_manifests
from prompt_processing.cli.values import convert
from prompt_processing.fanout.config import DetectorMap
from prompt_processing.operators.site_values.convert import convert_files
from prompt_processing.operators.site_values.rules import ValuesError
from prompt_processing.operators.site_values.worker import RULES
from prompt_processing.services.checking_tools import CheckingTools
from prompt_processing.settings.pipelines import parse_selection

pytestmark = pytest.mark.services

SITE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "site_values.yaml").read_text())
APPLICATIONS = {
    "prompt-keda-lsstcam": "prompt-keda-lsstcam",
    "next-visit-fan-out": "next-visit-fan-out",
    "butler-writer-service": "prompt-butler-writer",
    "prompt-redis": "prompt-redis",
}
"""Ours, by the site's."""

Render = Callable[..., str]


@pytest.fixture
def render(chart_tree: ChartTree, tmp_path: Path) -> Render:
    def render(name: str, **changes: Any) -> str:
        site = tmp_path / f"{name}.yaml"
        site.write_text(yaml.safe_dump({**SITE[name], **changes}))
        converted = tmp_path / "converted.yaml"
        converted.write_text(convert_files([site]).text)
        return chart_tree.render(f"applications/{APPLICATIONS[name]}", [converted])

    return render


@pytest.mark.parametrize("name", APPLICATIONS)
def test_converted_values_render_to_manifests_that_their_apis_take(
    render: Render, chart_software: CheckingTools, tmp_path: Path, name: str
) -> None:
    manifests = tmp_path / "manifests.yaml"
    manifests.write_text(render(name))
    assert validate_manifests([manifests], chart_software).endswith(" 0 problems")


def test_every_value_of_prompt_keda_is_known() -> None:
    paths = SITE["prompt-keda-paths"].split()
    known = [path for path in paths if any(f"{path}.".startswith(f"{rule}.") for rule in RULES)]
    assert known == paths


def test_worker_gets_what_the_site_has_set(render: Render) -> None:
    manifests = render("prompt-keda-lsstcam")
    worker = container_of(manifests, "ScaledJob")
    settings = worker.environment(EverySecret())
    assert (
        settings
        | {
            "AWS_PROFILE": "embargo",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "WHEN_REQUIRED",
            "CENTRAL_IERS_CACHE": "s3://site-users/iers-cache.zip",
            "DAX_APDB_MONITOR_CONFIG": "logging:lsst.dax.apdb.monitor",
            "IMAGE_TIMEOUT": "120",
            "LOCAL_REPO_CONFIG": "s3://site-users/config/compression.yaml",
            "LSST_RESOURCES_NUM_WORKERS": "4",
            "PLATFORM": "keda",
            "SATTLE_URI_BASE": "http://sattle.example.org:9999",
            "SERVICE_LOG_LEVELS": "timer.lsst.activator=DEBUG lsst.daf.butler=VERBOSE",
            "WORKER_GRACE_PERIOD": "45",
            "WORKER_RESTART_FREQ": "10",
        }
        == settings
    )
    assert float(settings["MESSAGE_EXPIRATION"]) == 6e8
    assert worker.secret_keys["AP_KAFKA_PRODUCER_PASSWORD"] == ("prompt-keda-lsstcam", "alert_stream_pass")
    assert "AWS_ACCESS_KEY_ID" not in settings
    mounts = {mount["mountPath"] for mount in worker.specification["volumeMounts"]}
    assert str(Path(settings["AWS_SHARED_CREDENTIALS_FILE"]).parent) in mounts
    assert len(parse_selection(settings["MAIN_PIPELINES_CONFIG"]).nodes) == 4
    assert yaml.safe_load(settings["EXPORT_TYPE_REGEXP"]) == [".*_(config|metadata|log)", "difference_image"]
    initializer = next(
        one
        for one in read_manifests(manifests)
        if one["kind"] == "CronJob" and one["metadata"]["name"].endswith("-init")
    )
    assert initializer["spec"]["suspend"] is True
    policy = json.dumps(only_policy(manifests, "prompt-keda-lsstcam"))
    assert all(f'"port": {port}' in policy for port in (9042, 9999))


def only_policy(manifests: str, name: str) -> Mapping[str, Any]:
    (policy,) = (
        one
        for one in read_manifests(manifests)
        if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == name
    )
    return policy


def test_workers_follow_the_lag_and_with_the_default_strategy_what_is_pending(render: Render) -> None:
    site = SITE["prompt-keda-lsstcam"]["prompt-keda"]
    for strategy, counts in (("eager", ["lagCount"]), ("default", ["lagCount", "pendingEntriesCount"])):
        changed = {**site, "keda": {**site["keda"], "scalingStrategy": strategy}}
        job = only(read_manifests(render("prompt-keda-lsstcam", **{"prompt-keda": changed})), "ScaledJob")
        triggers = [trigger["metadata"] for trigger in job["spec"]["triggers"]]
        assert [next(key for key in one if key in counts) for one in triggers] == counts
        for one in triggers:
            assert one["address"] == "prompt-redis.prompt-redis:6379"
            assert (one["stream"], one["consumerGroup"]) == ("instrument:lsstcam", "lsstcam_consumer_group")
        assert job["spec"]["scalingStrategy"]["multipleScalersCalculation"] == "sum"


def test_fan_out_sends_to_the_same_detectors(render: Render, tmp_path: Path) -> None:
    manifests = render("next-visit-fan-out")
    file = tmp_path / "instruments.yaml"
    file.write_text(only(read_manifests(manifests), "ConfigMap")["data"]["instruments.yaml"])
    found = DetectorMap.load(file).detectors
    expected = SITE["next-visit-fan-out"]["detectorConfig"]
    assert {name: found[name] for name in expected} == expected
    settings = container_of(manifests, "Deployment").environment(EverySecret())
    assert settings["SECURITY_PROTOCOL"] == "SASL_SSL"
    assert settings["MAX_FAN_OUT_MESSAGES"] == "2000"


def test_redis_holds_less_than_its_container(render: Render) -> None:
    redis = next(one for one in read_manifests(render("prompt-redis")) if one["kind"] == "StatefulSet")[
        "spec"
    ]["template"]["spec"]["containers"][0]
    assert redis["command"][redis["command"].index("--maxmemory") + 1] == "3072mb"
    assert redis["resources"]["limits"]["memory"] == "4Gi"


def test_command_lists_what_has_no_counterpart(tmp_path: Path) -> None:
    base, site = tmp_path / "values.yaml", tmp_path / "values-site.yaml"
    base.write_text(yaml.safe_dump(SITE["prompt-keda-lsstcam"]))
    site.write_text("prompt-keda: {worker: {restart: 3}, novelty: {switch: true}}")
    output = tmp_path / "new"
    result = CliRunner().invoke(convert, [str(base), str(site), "-o", str(output)])
    assert result.exit_code == 0, result.output
    new = yaml.safe_load((output / "values-site.yaml").read_text())["prompt-keda"]
    assert new["worker"]["restartFrequency"] == 3
    assert "novelty: Unknown here." in result.output
    assert "image.tag: " in result.output
    assert "initializer.image.repository" not in result.output


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prompt-keda: {worker: {restart: often}}", "worker.restart: 'often'"),
        ("prompt-keda: {keda: {scalingStrategy: custom}}", "the strategies are default"),
        ("publication: {stateDB: a}", "prompt-pub has no counterpart"),
        ("other: {a: 1}", "an application that has no counterpart"),
        ("prompt-keda: text", "prompt-keda: .text. cannot"),
        ("prompt-keda: {initializer: {retries: many}}", "initializer.retries: 'many'"),
        ("prompt-keda: {cache: {baseSize: .inf}}", "cache.baseSize: inf"),
        ("{detectorConfig: {HSC: all}, instruments: HSC}", "detectorConfig.HSC: 'all'"),
        ("{detectorConfig: [], instruments: HSC, knative: {maxMessages: [1]}}", "knative.maxMessages"),
        ("redis: {resources: {limits: {memory: much}}}", "redis.resources.limits.memory: 'much'"),
        ("- a list", "not a mapping"),
        ("{detectorConfig: {HSC: [0, 1]}, instruments: HSC}", "a list does not belong there"),
        ("prompt-keda: {logLevel: [timer=DEBUG]}", "a list does not belong there"),
        ("prompt-keda: &site {worker: *site}", "values.yaml: values are nested too deeply, or an anchor"),
        ("prompt-keda: {resources: " + "[" * 5000 + "]" * 5000 + "}", "values.yaml: .*nested too deeply"),
        ("prompt-keda: {image: {tag: 2025-13-45}}", "values.yaml: .*not what it looks like"),
        ("a: [", "values.yaml"),
    ],
)
def test_values_that_cannot_be_converted_are_named(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(text)
    with pytest.raises(ValuesError, match=problem.replace("'", ".")):
        convert_files([file])


def test_anchors_nulls_and_empty_texts_are_those_of_helm(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(
        "common: &resources {limits: {cpu: 1}}\n"
        "prompt-keda:\n"
        "  worker: {restart: '', timeout: null}\n"
        "  keda: null\n"
        "  resources: {<<: *resources}\n"
        "  tolerations: [&one {key: a, operator: Exists}, *one]\n"
    )
    converted = convert_files([file])
    new = yaml.safe_load(converted.text)["prompt-keda"]
    assert new["resources"] == {"limits": {"cpu": 1}}
    assert new["tolerations"] == [{"key": "a", "operator": "Exists"}] * 2
    assert "restartFrequency" not in new.get("worker", {})
    assert "common" in converted.remarks


@pytest.mark.parametrize(
    ("limit", "megabytes"), [("4Gi", 3072), ("512M", 366), (134217728, 96), ("128974848", 92), ("1e9", 715)]
)
def test_memory_of_redis_is_any_quantity_of_kubernetes(
    tmp_path: Path, limit: str | int, megabytes: int
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({"redis": {"resources": {"limits": {"memory": limit}}}}))
    assert yaml.safe_load(convert_files([file]).text)["prompt-redis"]["maxMemory"] == f"{megabytes}mb"


def test_a_file_is_not_overwritten_by_its_conversion(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("redis: {}")
    assert CliRunner().invoke(convert, [str(file), "-o", str(tmp_path)]).exit_code == 1
    assert file.read_text() == "redis: {}"
