"""What the charts say, started: command, environment, ports and probes are the manifests' own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import butler_world as world
import pytest
import requests
from chart_fixtures import only
from chart_world import HOST, ChartWorld
from lsst.daf.butler import Butler
from real_central import use_environment
from real_services import required

from prompt_delivery.deployment.helm import ChartTree
from prompt_delivery.deployment.manifests import read_manifests
from prompt_processing.services.kafka import NOTICES_TOPIC, Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.service import free_port
from prompt_processing.services.software import Software
from prompt_processing.tester.publish import Announcer
from prompt_processing.transport.kafka import make_producer

pytestmark = pytest.mark.services


@pytest.fixture
def chart_world(
    tmp_path: Path,
    chart_tree: ChartTree,
    kafka: Kafka,
    postgresql: PostgreSql,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ChartWorld]:
    made = ChartWorld(
        tmp_path,
        chart_tree,
        kafka,
        postgresql,
        object_store,
        lambda *services: use_environment(monkeypatch, *services),
    )
    yield made
    made.close()


def exported(chart_world: ChartWorld, exposure: int) -> set[str]:
    with Butler.from_config(chart_world.uri) as butler:
        refs = butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)
        return {
            ref.datasetType.name
            for ref in refs
            if exposure in (ref.dataId.get("visit"), ref.dataId.get("exposure"))
        }


def test_visit_posted_to_what_the_knative_chart_starts_is_processed(chart_world: ChartWorld) -> None:
    manifests = chart_world.render(
        "prompt-proto-service",
        chart_world.worker_values(ports={"http": free_port(), "metrics": free_port()}),
    )
    # The night first: the workers only read what the initializer has written.
    assert chart_world.start(manifests, "CronJob").await_end(120) == 0
    service = chart_world.start(manifests, "Service")
    service.await_start()

    group = "from the chart"
    visit = {**chart_world.announcement(group).model_dump(), "detector": world.DETECTOR}
    event = {"specversion": "1.0", "id": "1", "source": "topic", "type": "com.example.kafka", "data": visit}
    (port,) = service.container.ports.values()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(
            requests.post,
            f"http://{HOST}:{port}/next-visit",
            data=json.dumps(event),
            headers={"Content-Type": "application/cloudevents+json"},
            timeout=service.container.pod["timeoutSeconds"],
        )
        time.sleep(3.0)
        assert not answer.done(), answer.result().text
        assert service.succeeds("readinessProbe"), "a busy worker must not look as if it were not there"
        assert service.succeeds("livenessProbe")
        exposure = chart_world.upload(group, 1)
        response = answer.result()
    assert response.status_code == 200, service.log.read_text()
    outcome = response.json()["outcome"]
    assert outcome["exposures"] == [exposure]
    assert outcome["pipeline"] == "ApPipe"
    assert {"post_isr_image", "preliminary_visit_image"} <= exported(chart_world, exposure)
    text = requests.get(f"http://{HOST}:{service.container.annotations['prometheus.io/port']}/metrics").text
    assert 'prompt_visits_total{instrument="LSSTCam",outcome="processed"} 1.0' in text
    assert service.stop() == 0
    for name in ("s3_secret_key", "kafka_password"):
        assert chart_world.secrets[name] not in service.log.read_text()


def test_announced_visit_goes_through_all_that_the_other_charts_start(
    chart_world: ChartWorld, new_name: Callable[[str], str]
) -> None:
    kafka = chart_world.kafka
    topics = {name: new_name(name) for name in ("next-visit", "outputs", "entered")}
    kafka.create_topics(*topics.values())
    sasl = {"kafkaCluster": kafka.sasl_servers, "username": kafka.username}

    redis_port = free_port()
    redis = chart_world.start(
        chart_world.render("prompt-redis", {"port": redis_port}),
        "StatefulSet",
        program=required("Redis", Software().redis),
    )
    microservice = chart_world.start(
        chart_world.render(
            "prompt-raw-microservice",
            {
                "images": {"bucket": chart_world.name, "endpointUrl": chart_world.store.url},
                "notices": {**sasl, "topic": NOTICES_TOPIC},
                "ports": {"http": free_port()},
            },
        ),
        "Deployment",
    )
    writer = chart_world.start(
        chart_world.render(
            "prompt-butler-writer",
            {
                "repository": chart_world.uri,
                "listDirectory": str(chart_world.folder / "lists"),
                "kafka": {
                    "cluster": kafka.sasl_servers,
                    "username": kafka.username,
                    "topic": topics["outputs"],
                    "outputTopic": topics["entered"],
                },
                "s3": {"endpointUrl": chart_world.store.url},
                "ports": {"metrics": free_port()},
            },
        ),
        "Deployment",
    )
    values = chart_world.worker_values(redis={"host": f"{HOST}:{redis_port}"}, ports={"metrics": free_port()})
    values["images"]["rawMicroservice"] = f"http://{HOST}:{microservice.container.ports['http']}"
    values["export"] = {"writer": {"enabled": True, "topic": topics["outputs"], **sasl}}
    worker_manifests = chart_world.render("prompt-keda", values)
    assert chart_world.start(worker_manifests, "CronJob").await_end(120) == 0
    redis.await_start()
    worker = chart_world.start(worker_manifests, "ScaledJob")

    fan_out_manifests = chart_world.render(
        "next-visit-fan-out",
        {
            "instruments": ["LSSTCam"],
            "platform": "keda",
            "kafka": {
                "cluster": kafka.sasl_servers,
                "username": kafka.username,
                "topic": topics["next-visit"],
                "offset": "earliest",
            },
            "detectors": {"LSSTCam": [f"{world.DETECTOR}-{world.DETECTOR + 1}"]},
            "inactiveDetectors": {"LSSTCam": [world.DETECTOR + 1]},
            "redisHost": f"{HOST}:{redis_port}",
            "redisStreams": {"LSSTCam": "instrument:lsstcam"},
            "ports": {"metrics": free_port()},
        },
    )
    configuration = only(read_manifests(fan_out_manifests), "ConfigMap")["data"]
    fan_out = chart_world.start(fan_out_manifests, "Deployment", files={"/etc/prompt-fan-out": configuration})
    for pod in (microservice, writer, worker, fan_out):
        pod.await_start()
    writer.await_log("Ready for messages")
    worker.await_log("Ready for visits")

    group = "announced"
    Announcer(make_producer(kafka.plain), topics["next-visit"], None).publish(chart_world.announcement(group))
    worker.await_log(group)
    exposure = chart_world.upload(group, 2)
    deadline = time.monotonic() + 90
    while not exported(chart_world, exposure):
        assert time.monotonic() < deadline, worker.log.read_text() + writer.log.read_text()
        time.sleep(0.5)
    assert {"post_isr_image", "preliminary_visit_image"} <= exported(chart_world, exposure)
    assert list((chart_world.folder / "lists").glob("*.json"))
    counts = requests.get(f"http://{HOST}:{microservice.container.ports['http']}/metrics", timeout=5).text
    assert 'raw_microservice_questions_total{answer="' in counts
    for pod in (fan_out, worker, writer, microservice, redis):
        assert pod.stop() == 0, pod.log.read_text()
        assert kafka.password not in pod.log.read_text()
