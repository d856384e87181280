"""Settings that the charts give are those that the code knows, in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import click
import pytest
from chart_fixtures import PROJECT, EverySecret, applications, container_of, only

from prompt_delivery.deployment.helm import ChartTree
from prompt_delivery.deployment.manifests import containers, read_manifests
from prompt_processing.activator.stream_worker import load_settings, make_stream
from prompt_processing.butler_writer.config import WriterSettings
from prompt_processing.cli.main import prompt
from prompt_processing.fanout.config import DetectorMap, FanOutSettings
from prompt_processing.fanout.stream_settings import StreamSettings
from prompt_processing.initializer.config import InitializerSettings
from prompt_processing.instruments.camera import load_camera
from prompt_processing.operators.projector_settings import ProjectorSettings
from prompt_processing.raw_microservice.config import MicroserviceSettings
from prompt_processing.settings.alerts import AlertSettings
from prompt_processing.settings.environment import EnvironmentSettings
from prompt_processing.settings.worker import Settings

pytestmark = pytest.mark.services

Exactly = Callable[[Mapping[str, str]], None]

OF_OTHERS = {
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SHARED_CREDENTIALS_FILE",
    "DAX_APDB_MONITOR_CONFIG",
    "LSST_DB_AUTH_CREDENTIALS",
    "LSST_RESOURCES_NUM_WORKERS",
}
"""What libraries read by themselves: boto3, lsst.utils, lsst.resources and lsst.dax.apdb."""

STREAMS = {
    "REDIS_STREAM_HOST",
    "REDIS_STREAM_NAME",
    "REDIS_STREAM_CONSUMER_GROUP",
    "REDIS_RETRY_DELAY",
    "REDIS_STREAM_CLAIM_IDLE",
    "FANNED_OUT_MSG_LISTEN_TIMEOUT",
}

ALIASES = {"SASL_USERNAME", "SASL_PASSWORD", "SECURITY_PROTOCOL", "SASL_MECHANISM", "SSL_CA_FILE"}
"""Process-wide names; charts set those of each cluster instead."""

FAN_OUTS_ALIASES = {
    *(f"KAFKA_{name}" for name in ("USERNAME", "PASSWORD", "SECURITY_PROTOCOL", "SASL_MECHANISM", "CA_FILE")),
    "KAFKA_SCHEMA_REGISTRY_CA_FILE",
}

SERVICES: dict[str, tuple[str, str, type[EnvironmentSettings], set[str]]] = {
    # Knative gives the port itself.
    "knative": (
        "charts/prompt-proto-service",
        "Service",
        Settings,
        ALIASES | STREAMS | {"PORT", "WORKER_COUNT", "ALERT_KEEP_DIR", "OUTCOME_DIR"},
    ),
    "keda": (
        "charts/prompt-keda",
        "ScaledJob",
        Settings,
        ALIASES | {"PORT", "WEB_CONCURRENCY", "WORKER_COUNT", "ALERT_KEEP_DIR", "OUTCOME_DIR"},
    ),
    "fan-out": (
        "charts/next-visit-fan-out",
        "Deployment",
        FanOutSettings,
        FAN_OUTS_ALIASES | {"OUTCOME_DIR"},
    ),
    "writer": ("charts/prompt-butler-writer", "Deployment", WriterSettings, ALIASES),
    "raw-microservice": ("charts/prompt-raw-microservice", "Deployment", MicroserviceSettings, ALIASES),
    "stream-exporter": ("charts/prompt-redis", "Deployment", StreamSettings, set()),
    "initializer-knative": ("charts/prompt-proto-service", "CronJob", InitializerSettings, set()),
    "initializer-keda": ("charts/prompt-keda", "CronJob", InitializerSettings, set()),
}

PROGRAMS = {"CronJob": "prompt-initializer"}
"""Which container is meant where there are several."""

OF_THE_INITIALIZERS_LIBRARIES = {
    "S3_ENDPOINT_URL",
    "LSST_DISABLE_BUCKET_VALIDATION",
    "CENTRAL_IERS_CACHE",
    "LOCAL_REPO_CONFIG",
    "SATTLE_URI_BASE",
}
"""Settings of the worker that libraries and pipelines read in the initializer and the writer."""


@pytest.mark.parametrize("name", SERVICES)
def test_charts_give_every_setting_and_no_other(chart_tree: ChartTree, name: str) -> None:
    chart, kind, settings, withheld = SERVICES[name]
    container = container_of(
        chart_tree.render(chart, [chart_tree.examples(chart)["full"]]), kind, PROGRAMS.get(kind)
    )
    known = {field.upper() for field in settings.model_fields}
    others = OF_OTHERS | (OF_THE_INITIALIZERS_LIBRARIES - known)
    assert container.variables - others == known - withheld


@pytest.mark.parametrize("name", SERVICES)
def test_defaults_of_charts_and_code_agree(chart_tree: ChartTree, exactly: Exactly, name: str) -> None:
    chart, kind, settings, _ = SERVICES[name]
    exporter = ["streamExporter.enabled=true"] if name == "stream-exporter" else []
    manifests = chart_tree.render(chart, [chart_tree.examples(chart)["least"]], exporter)
    container = container_of(manifests, kind, PROGRAMS.get(kind))
    exactly(container.environment(EverySecret()))
    given = settings.load()  # type: ignore[attr-defined]
    different = {
        field
        for field, about in settings.model_fields.items()
        if not about.is_required() and getattr(given, field) != about.get_default(call_default_factory=True)
    }
    chosen = {
        # A stock Knative gives a request up after 600 s.
        "knative": {"worker_timeout"},
        # Written out, so that the stream in the trigger and that of the worker are the same.
        "keda": {"redis_stream_host", "redis_stream_name", "redis_stream_consumer_group", "platform"},
        # Answered again where the code by itself leaves that to the sender.
        "fan-out": {"retry_knative_requests", "metrics_port"},
        "writer": {"metrics_port"},
        "stream-exporter": {"metrics_port"},
        # The chart names its cameras; the code by itself takes every one that is described.
        "raw-microservice": {"supported_instruments"},
    }
    assert different == chosen.get(name, set())


def test_each_application_in_each_environment_has_settings_that_the_code_takes(
    rendered: dict[tuple[str, str], str], exactly: Exactly, tmp_path: Path
) -> None:
    # Not above, because each process of the tests imports this file and Prefect takes seconds; and before the
    # environments of charts, because Prefect keeps the settings that it finds when it is imported.
    from prefect.settings import Settings as PrefectSettings

    n_checked = 0
    for application, environment, text in applications(rendered):
        where = f"{application} in {environment}"
        manifests = read_manifests(text)
        for container in containers(manifests):
            exactly(container.environment(EverySecret()))
            match container.command[0]:
                case "prompt-activator":
                    check_worker(Settings.load(), where)
                case "prompt-stream-worker":
                    check_worker(load_settings(), where)
                    trigger = only(manifests, "ScaledJob")["spec"]["triggers"][0]["metadata"]
                    assert str(make_stream(load_settings())).endswith(trigger["stream"]), where
                    assert trigger["address"] == load_settings().redis_stream_host, where
                case "prompt-initializer" | "prompt-finish-exports":
                    InitializerSettings.load()
                case "prompt-resend-alerts":
                    settings = AlertSettings.load().alert_stream
                    assert settings.broker is not None, where
                    assert settings.keep_store is not None, where
                case "prompt-fanout":
                    file = tmp_path / "instruments.yaml"
                    file.write_text(only(manifests, "ConfigMap")["data"]["instruments.yaml"])
                    check_fan_out(FanOutSettings.load(), DetectorMap.load(file), where)
                case "prompt-butler-writer":
                    WriterSettings.load()
                case "prompt-raw-microservice":
                    MicroserviceSettings.load()
                case "prompt" if container.command[1] == "streams":
                    StreamSettings.load()
                case "prompt" if container.command[1] == "nights":
                    settings = ProjectorSettings.load()
                    assert settings.outcome_topic is not None, where
                case "prompt" if container.command[1] in ("board", "navigator"):
                    words = container.command[1:]
                    command = prompt.get_command(click.Context(prompt), words[0])
                    assert command is not None
                    options = command.make_context(words[0], [*words[1:]]).params
                    assert options["address"] == "0.0.0.0", where
                    assert container.ports == {"http": options["port"]}, where
                case "prefect":
                    assert container.command[1:3] == ["worker", "start"], where
                    taken = PrefectSettings()
                    assert taken.api.url is not None, where
                    assert container.ports == {"health": taken.worker.webserver.port}, where
                case "redis-server":
                    pass
                case unknown:
                    raise AssertionError(f"{where} starts {unknown}")
            n_checked += 1
    assert n_checked > 50


def check_worker(settings: Settings, where: str) -> None:
    paths = (*settings.preprocessing_pipelines_config.paths, *settings.main_pipelines_config.paths)
    assert paths, where
    for path in paths:
        assert Path(path).is_relative_to(PROJECT / "pipelines" / settings.rubin_instrument), where
        assert Path(path).is_file(), where


def check_fan_out(settings: FanOutSettings, detectors: DetectorMap, where: str) -> None:
    detectors.check(settings)
    for name, chosen in detectors.detectors.items():
        camera = load_camera(name.partition("-TEST-")[0])
        assert chosen.keys() <= camera.detectors.keys(), f"{where}: {name}"
    for name in settings.supported_instruments:
        assert any(detectors.detectors[name].values()), f"{where}: {name}"


def test_visits_are_posted_and_streamed_to_where_the_workers_are(
    rendered: dict[tuple[str, str], str],
) -> None:
    text = rendered["applications/next-visit-fan-out", "usdfdev-prompt-processing"]
    file = only(read_manifests(text), "ConfigMap")["data"]["instruments.yaml"]
    for instrument in ("HSC", "LATISS", "LSSTCam"):
        name = f"prompt-proto-service-{instrument.lower()}"
        service = rendered[f"applications/{name}", "usdfdev-prompt-processing"]
        knative = [one for one in read_manifests(service) if one["apiVersion"].startswith("serving.")]
        # Namespaces have the names of their applications.
        assert f"http://{knative[0]['metadata']['name']}.{name}/next-visit" in file
        assert f"instrument:{instrument.lower()}" in file


def test_lists_and_ranges_of_detectors_become_a_detector_map(chart_tree: ChartTree, tmp_path: Path) -> None:
    chart = "charts/next-visit-fan-out"
    values = tmp_path / "values.yaml"
    values.write_text("detectors: {LSSTCam: [3, 5-7, 188], LATISS: [0]}\ninactiveDetectors: {LSSTCam: [6]}\n")
    text = chart_tree.render(chart, [chart_tree.examples(chart)["least"], values])
    file = tmp_path / "instruments.yaml"
    file.write_text(only(read_manifests(text), "ConfigMap")["data"]["instruments.yaml"])
    detectors = DetectorMap.load(file).detectors
    assert detectors["LSSTCam"] == {3: True, 5: True, 6: False, 7: True, 188: True}
    assert detectors["LATISS"] == {0: True}
