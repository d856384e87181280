"""What the charts render to is what a cluster takes and what the code knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_fixtures import PROJECT, EverySecret, applications, container_of, only
from prometheus_client import CollectorRegistry

from prompt_delivery.deployment.chart_values import read_values
from prompt_delivery.deployment.helm import ChartTree, HelmError
from prompt_delivery.deployment.manifests import containers, read_manifests
from prompt_delivery.deployment.validation import ManifestError, queried_metrics, validate_manifests
from prompt_processing.butler_writer.metrics import WriterMetrics
from prompt_processing.fanout.metrics import FanOutMetrics
from prompt_processing.fanout.streams import StreamMetrics
from prompt_processing.raw_microservice.metrics import MicroserviceMetrics
from prompt_processing.services.checking_tools import CheckingTools
from prompt_processing.telemetry.metrics import Metrics

pytestmark = pytest.mark.services

KNATIVE, KEDA = "charts/prompt-proto-service", "charts/prompt-keda"
FLOWS = "charts/prompt-flows"
POD = "template.spec.containers.0"


def test_each_manifest_is_taken_by_its_own_api(
    rendered: dict[tuple[str, str], str], chart_software: CheckingTools, tmp_path: Path
) -> None:
    files = []
    for (chart, where), manifests in rendered.items():
        files.append(tmp_path / f"{Path(chart).name}-{where}.yaml")
        files[-1].write_text(manifests)
    assert validate_manifests(files, chart_software).endswith(" 0 problems")
    # Each instrument in each environment, on both platforms, and what they need.
    assert len({(name, where) for name, where, _ in applications(rendered)}) == 45


@pytest.mark.parametrize(
    ("chart", "kind", "path", "value", "problem"),
    [
        (KNATIVE, "Service", "template.spec.containerConcurrency", -1, "containerConcurrency"),
        (KNATIVE, "Service", "template.spec.containerConcurrency", "two", "containerConcurrency"),
        (KNATIVE, "Service", "template.spec.timeoutSeconds", 601, "timeoutSeconds"),
        (KNATIVE, "Service", "template.spec.timoutSeconds", 60, 'unknown field "timoutSeconds"'),
        (KNATIVE, "Service", f"{POD}.env.0.name", "PORT", "PORT"),
        (
            KNATIVE,
            "Service",
            "template.spec.containers.0.securityContext.runAsNonRoot",
            False,
            "runAsNonRoot",
        ),
        (KNATIVE, "Service", f"{POD}.volumeMounts.0.name", "none", "none"),
        (KEDA, "ScaledJob", "scalingStrategy.kind", "x", 'unknown field "kind"'),
        (KEDA, "ScaledJob", "scalingStrategy.strategy", 3, "strategy"),
        (KEDA, "ScaledJob", "jobTargetRef.template.spec.containers", None, "containers"),
        (KEDA, "ScaledJob", "triggers.0.metadata.streamlength", "1", "streamlength"),
        (KEDA, "ScaledJob", "triggers.0.metadata.address", "", "address"),
        (KEDA, "NetworkPolicy", "podSelectors", {}, 'unknown field "podSelectors"'),
        (KEDA, "PodMonitor", "podMetricsEndpoints.0.intervall", "1s", "intervall"),
        ("charts/next-visit-fan-out", "Deployment", "selector.matchLabels", {"a": "b"}, "spec.selector"),
        ("charts/next-visit-fan-out", "Deployment", "replicas", "many", "replicas"),
        (
            "charts/next-visit-fan-out",
            "Deployment",
            f"{POD}.securityContext.capabilities.drop",
            [],
            "unrestricted capabilities",
        ),
        (
            "charts/next-visit-fan-out",
            "Deployment",
            f"{POD}.resources.limits.memory",
            "1Mi",
            "requests more memory",
        ),
        (FLOWS, "DaskCluster", "worker.replica", 2, 'unknown field "replica"'),
        (FLOWS, "DaskCluster", "worker.spec.containers.0.arg", [], "arg"),
        (FLOWS, "DaskCluster", "worker.spec.containers.0.securityContext", {}, "spec.worker: not restricted"),
        (
            FLOWS,
            "DaskCluster",
            "scheduler.service.ports.0.targetPort",
            "tcp",
            "the scheduler has no port tcp",
        ),
        (FLOWS, "DaskCluster", "scheduler.service.selector", {}, "dask.org/cluster-name"),
        ("charts/prompt-monitoring", "PrometheusRule", "groups.0.rules.0.expr", "sum(", "PromptAlertsLate"),
        ("argocd", "Application", "source.repository", "x", "spec.source.repository: unknown field"),
        ("argocd", "Application", "destination", None, "spec.destination"),
    ],
)
def test_mistake_in_a_manifest_is_found_and_named(
    rendered: dict[tuple[str, str], str],
    chart_software: CheckingTools,
    tmp_path: Path,
    chart: str,
    kind: str,
    path: str,
    value: Any,
    problem: str,
) -> None:
    manifests = read_manifests(rendered[chart, "idfdev" if chart == "argocd" else "full"])
    changed: Any = next(one for one in manifests if one["kind"] == kind)
    node = changed["spec"]
    *above, last = path.split(".")
    for key in above:
        node = node[int(key) if isinstance(node, list) else key]
    node[last] = value
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(changed))
    with pytest.raises(ManifestError, match=re.escape(problem)) as caught:
        validate_manifests([file], chart_software)
    assert f"{kind}/{changed['metadata']['name']}" in str(caught.value)


def test_unknown_kind_is_refused(chart_software: CheckingTools, tmp_path: Path) -> None:
    file = tmp_path / "unknown.yaml"
    file.write_text("{apiVersion: example.org/v1, kind: Surprise, metadata: {name: a}}")
    with pytest.raises(ManifestError, match="Surprise"):
        validate_manifests([file], chart_software)


@pytest.mark.parametrize(
    ("chart", "setting", "place"),
    [
        (KNATIVE, "knative.maxScale=many", "/knative/maxScale"),
        (KNATIVE, "worker.timeout=-1", "/worker/timeout"),
        (KNATIVE, "worker.timout=1", "timout"),
        (KNATIVE, "instrument.name=DECamera", "/instrument/name"),
        (KNATIVE, "instrument.skymap=", "/instrument/skymap"),
        (KNATIVE, "instrument.pipelines.main[0].pipelins=a", "pipelins"),
        (KNATIVE, "resources.requests.memory=lots", "/resources/requests/memory"),
        (KNATIVE, "images.disableBucketValidation=maybe", "/images/disableBucketValidation"),
        (KEDA, "redis.host=", "/redis/host"),
        (KEDA, "keda.strategy=best", "/keda/strategy"),
        ("charts/next-visit-fan-out", "platform=nomad", "/platform"),
        ("charts/next-visit-fan-out", "detectors.LSSTCam[0]=all", "/detectors/LSSTCam/0"),
        ("charts/prompt-butler-writer", "logLevel=LOUD", "/logLevel"),
        ("charts/prompt-raw-microservice", "instruments[0]=HSC", "/instruments/0"),
        ("charts/prompt-redis", "storage.size=big", "/storage/size"),
        ("charts/prompt-monitoring", "failures.ratio=2", "/failures/ratio"),
        (FLOWS, "prefect.apiUrl=prefect", "/prefect/apiUrl"),
        (FLOWS, "schedules.dawn.crom=x", "crom"),
        (FLOWS, "dask.workers=0", "/dask/workers"),
    ],
)
def test_wrong_value_is_refused_by_name(chart_tree: ChartTree, chart: str, setting: str, place: str) -> None:
    with pytest.raises(HelmError, match=re.escape(place)) as caught:
        chart_tree.render(chart, [chart_tree.examples(chart)["least"]], [setting])
    assert Path(chart).name in str(caught.value)


def test_wrong_value_of_an_application_is_refused_by_name(chart_tree: ChartTree) -> None:
    application = "applications/prompt-proto-service-lsstcam"
    values = chart_tree.values(application, "usdfdev-prompt-processing")
    for setting, place in (
        ("prompt-proto-service.images.timeout=soon", "/images/timeout"),
        ("prompt-proto-service.imagges.timeout=3", "imagges"),
        ("prompt-protoservice.images.timeout=3", "prompt-protoservice"),
    ):
        with pytest.raises(HelmError, match=re.escape(place)):
            chart_tree.render(application, values, [setting])


@pytest.mark.parametrize("chart", [file.parent.name for file in sorted(PROJECT.glob("charts/*/values.yaml"))])
def test_each_value_changes_what_is_rendered(chart_tree: ChartTree, chart: str, tmp_path: Path) -> None:
    name = f"charts/{chart}"
    full = chart_tree.examples(name)["full"]
    examples = yaml.safe_load(full.read_text()) or {}
    marks: dict[str, str] = {}
    changes: dict[str, Any] = {}
    for number, value in enumerate(read_values(PROJECT / name / "values.yaml")):
        changed = _other(_at(examples, value.path, value.default), 60_000 + number)
        if changed is not None:
            marks[value.name] = str(60_000 + number)
            changes[value.name] = _nested(value.path, changed)
    together = tmp_path / "together.yaml"
    together.write_text(yaml.safe_dump(_merged(changes.values())))
    text = chart_tree.render(name, [full, together], check_values=False)
    unseen = [one for one, mark in marks.items() if mark not in text]
    # Switches, and what numbers are computed from: one at a time.
    before = chart_tree.render(name, [full])
    for value in read_values(PROJECT / name / "values.yaml"):
        if value.name in changes and value.name not in unseen:
            continue
        default = _at(examples, value.path, value.default)
        single = tmp_path / "single.yaml"
        single.write_text(yaml.safe_dump(_nested(value.path, _different(default))))
        assert chart_tree.render(name, [full, single], check_values=False) != before, value.name


def _other(value: Any, number: int) -> Any:
    match value:
        case bool():
            return None
        case int() | float():
            return number
        case str():
            return f"x{number}"
        case list():
            return [number if value and isinstance(value[0], int) else f"x{number}"]
    # Maps of lists stay maps of lists.
    lists = any(isinstance(one, list) for one in value.values())
    return {f"x{number}": [number] if lists else f"x{number}"}


def _different(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value * 2 + 2
        case str():
            return f"{value}-other"
        case list():
            return [5]
        case dict():
            return {key: _different(one) for key, one in value.items()}
    raise AssertionError(value)


def _at(examples: Any, path: tuple[str, ...], default: Any) -> Any:
    for key in path:
        if not isinstance(examples, dict) or key not in examples:
            return default
        examples = examples[key]
    return examples


def _nested(path: tuple[str, ...], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _merged(mappings: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = _merged([result[key], value]) if both else value
    return result


def test_rules_and_dashboard_ask_for_all_metrics_that_are_exported_and_no_others(
    rendered: dict[tuple[str, str], str], chart_software: CheckingTools, tmp_path: Path
) -> None:
    file = tmp_path / "monitoring.yaml"
    file.write_text(rendered["charts/prompt-monitoring", "full"])
    asked = queried_metrics([file], chart_software)
    registries = [
        Metrics("LSSTCam").registry,
        FanOutMetrics().registry,
        WriterMetrics().registry,
        MicroserviceMetrics().registry,
        StreamMetrics().registry,
    ]
    exported = {family: names for registry in registries for family, names in _sample_names(registry)}
    assert asked <= set().union(*exported.values())
    assert [family for family, names in exported.items() if not names & asked] == []


def _sample_names(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    for family in registry.collect():
        yield family.name, {family.name + suffix for suffix in suffixes[family.type]}


def test_alerts_ask_for_outcomes_and_stages_that_exist(rendered: dict[tuple[str, str], str]) -> None:
    from prompt_processing.domain.outcome import STAGES, Status

    text = rendered["charts/prompt-monitoring", "full"]
    assert set(re.findall(r'outcome=\\?"(\w+)', text)) <= {status.label for status in Status}
    assert set(re.findall(r'stage=\\?"(\w+)', text)) <= set(STAGES)


@pytest.mark.parametrize(("chart", "kind"), [(KNATIVE, "Service"), (KEDA, "ScaledJob")])
def test_pods_are_replaced_when_the_revision_changes(chart_tree: ChartTree, chart: str, kind: str) -> None:
    values = [chart_tree.examples(chart)["least"]]
    container = container_of(chart_tree.render(chart, values, ["revision=now"]), kind)
    assert container.annotations["revision"] == "now"
    assert container.annotations["prometheus.io/port"] == str(container.probe("livenessProbe")[0])  # type: ignore[index]


def test_probes_ask_for_health_so_that_a_stuck_process_is_restarted(
    rendered: dict[tuple[str, str], str],
) -> None:
    probed = 0
    for text in rendered.values():
        for container in containers(read_manifests(text)):
            liveness, readiness = container.probe("livenessProbe"), container.probe("readinessProbe")
            startup = container.probe("startupProbe")
            if liveness is None:
                # Redis itself: its probe is a command.
                assert readiness is startup is None
                continue
            if container.command[:2] == ["prefect", "worker"]:
                # Prefect's own.
                assert startup is not None
                assert liveness[1] == startup[1] == "/health"
                continue
            # The navigator publishes everything under its prefix, and stays up without any of its sources.
            navigator = container.command[:2] == ["prompt", "navigator"]
            prefix = liveness[1].removesuffix("/health/live") if navigator else ""
            live, ready = f"{prefix}/health/live", f"{prefix}/health/ready"
            assert liveness[1] == live
            assert startup is not None
            assert startup[1] in (live, ready)
            if readiness is not None:
                assert readiness[1] == (live if navigator else ready)
            probed += 1
    assert probed > 10


def test_knative_waits_longer_than_a_visit_may_take(rendered: dict[tuple[str, str], str]) -> None:
    for text in rendered.values():
        for container in containers(read_manifests(text)):
            if "WORKER_TIMEOUT" not in container.variables or container.kind != "Service":
                continue
            assert container.pod["containerConcurrency"] == 1
            assert container.pod["timeoutSeconds"] > float(
                container.environment(EverySecret())["WORKER_TIMEOUT"]
            )


def test_a_pod_that_ends_has_the_time_that_its_process_takes(rendered: dict[tuple[str, str], str]) -> None:
    for text in rendered.values():
        for container in containers(read_manifests(text)):
            environment = container.environment(EverySecret())
            for name in ("WORKER_GRACE_PERIOD", "SHUTDOWN_GRACE_S"):
                if name in environment and container.kind != "Service":
                    assert container.pod["terminationGracePeriodSeconds"] > float(environment[name])


@pytest.mark.parametrize("chart", ["charts/prompt-proto-service", "charts/prompt-keda"])
def test_what_dead_workers_left_is_settled_every_day(chart_tree: ChartTree, chart: str) -> None:
    examples = chart_tree.examples(chart)
    full = chart_tree.render(chart, [examples["full"]])
    exports = container_of(full, "CronJob", "prompt-finish-exports")
    alerts = container_of(full, "CronJob", "prompt-resend-alerts")
    environment = alerts.environment(EverySecret())
    assert exports.command[1] == environment["CENTRAL_REPO"]
    for name in ("ALERT_KEEP_STORE", "AP_KAFKA_SERVER", "CONFIG_APDB", "AWS_ACCESS_KEY_ID"):
        assert environment[name]
    (worker,) = (one for one in containers(read_manifests(full)) if one.kind in ("Service", "ScaledJob"))
    assert worker.environment(EverySecret())["ALERT_KEEP_STORE"] == environment["ALERT_KEEP_STORE"]
    # Without a place that outlives the pods there is nothing to send.
    least = containers(read_manifests(chart_tree.render(chart, [examples["least"]])))
    programs = [one.command[0] for one in least if one.kind == "CronJob"]
    assert sorted(programs) == ["prompt-finish-exports", "prompt-initializer"]


def test_killed_stream_worker_begins_again_where_its_unsent_alerts_are(chart_tree: ChartTree) -> None:
    chart = "charts/prompt-keda"
    text = chart_tree.render(chart, [chart_tree.examples(chart)["least"]])
    job = only(read_manifests(text), "ScaledJob")["spec"]["jobTargetRef"]
    assert job["template"]["spec"]["restartPolicy"] == "OnFailure"
    assert job["backoffLimit"] > 0
