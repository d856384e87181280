"""The service as a process: gunicorn, Kafka and S3 are real, the repositories are make-believe."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
import requests
from broker_process import BrokerProcess
from confluent_kafka import Producer
from moto.server import ThreadedMotoServer

from prompt_processing.domain.clock import day_obs, utc_to_tai
from prompt_processing.instruments.raw_key import format_raw_key, lsst_exposure_id
from prompt_processing.settings.worker import Settings
from prompt_processing.transport.s3 import make_s3_client

pytestmark = pytest.mark.integration

SECRET = "hush-do-not-tell"

APPLICATION = '''
"""The real application on a workspace that only pretends."""
import os, time
from prompt_processing.activator.app import create_app
from prompt_processing.settings.worker import Settings
from prompt_processing.activator.factory import ProcessContext


class Run:
    pipeline, metadata, seconds = "ApPipe", {}, {"isr": 1.0}


class Workspace:
    runs = {}
    def step(self, name):
        if os.environ.get("SLOW_STEP") == name:
            print(f"reached {name}", flush=True)
            time.sleep(30)

    def preload(self): self.step("preload")
    def run_preprocessing(self): self.step("preprocessing")
    def ingest(self, images):
        names = [uri.basename().split("_") for uri in images]
        return tuple(int(name[2]) * 100000 + int(name[3]) for name in names)

    def run_pipeline(self): self.step("pipeline"); return Run()
    def export(self): self.step("export"); return 3
    def clean(self): print("cleaned", flush=True)


class Context(ProcessContext):
    ready = True
    def open_workspace(self, visit, pipelines): return Workspace()
    def in_apdb(self, exposures, detector): return False


def create():
    context = Context(Settings.load())
    context.start_logging()
    context.metrics.ready()
    return create_app(context)
'''


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def store():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    with BrokerProcess(tmp_path_factory.mktemp("broker"), "notices") as broker:
        producer = Producer({"bootstrap.servers": broker.address})
        producer.produce("notices", b'{"Event": "s3:TestEvent"}')
        producer.flush(10)
        yield producer, broker.address


class Service:
    """A running activator."""

    def __init__(self, environment, application, folder):
        self.port, self.metrics_port = free_port(), free_port()
        self.metrics_folder = folder / "prompt-metrics-test"
        self.log = folder / "stderr"
        self.output = folder / "stdout"
        arguments = [] if application is None else [application]
        with self.log.open("w") as log, self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prompt_processing", "worker", "http", *arguments],
                env={
                    **environment,
                    "PORT": str(self.port),
                    "METRICS_PORT": str(self.metrics_port),
                    "PROMETHEUS_MULTIPROC_DIR": str(self.metrics_folder),
                    "PYTHONPATH": str(folder),
                },
                stdout=output,
                stderr=log,
                cwd=folder,
            )

    def get(self, path, side=True):
        port = self.metrics_port if side else self.port
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=10)

    def wait_until(self, condition, seconds=60.0):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if condition():
                    return
            except requests.RequestException:
                pass
            time.sleep(0.1)
        raise TimeoutError(self.log.read_text())

    def ready(self):
        self.wait_until(lambda: self.get("/health").status_code == 200)
        return self

    def post(self, **changes):
        now = utc_to_tai(time.time())
        visit = {
            "salIndex": 2,
            "groupId": "the group",
            "coordinateSystem": 2,
            "position": [155.5, -4.25],
            "startTime": now + 20.0,
            "rotationSystem": 2,
            "cameraAngle": 12.5,
            "filters": "r_57",
            "duration": 1.0,
            "nimages": 1,
            "instrument": "LSSTCam",
            "survey": "wide",
            "private_sndStamp": now,
            "detector": 94,
            **changes,
        }
        event = {
            "specversion": "1.0",
            "id": "1",
            "source": "topic",
            "type": "com.example.kafka",
            "data": visit,
        }
        return requests.post(
            f"http://127.0.0.1:{self.port}/next-visit",
            data=json.dumps(event),
            headers={"Content-Type": "application/cloudevents+json"},
            timeout=60,
        )

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@pytest.fixture
def environment(store, kafka, tmp_path):
    inherited = {
        name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields
    }
    inherited.pop("PROMETHEUS_MULTIPROC_DIR", None)
    return {
        **inherited,
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "RUBIN_INSTRUMENT": "LSSTCam",
        "SKYMAP": "sky",
        "CENTRAL_REPO": str(tmp_path / "no-repository"),
        "LOCAL_REPOS": str(tmp_path),
        "IMAGE_BUCKET": "raws",
        "S3_ENDPOINT_URL": store,
        "KAFKA_CLUSTER": kafka[1],
        "BUCKET_TOPIC": "notices",
        "CONFIG_APDB": str(tmp_path / "apdb.yaml"),
        "PREPROCESSING_PIPELINES_CONFIG": "- pipelines: [Preprocessing.yaml]",
        "MAIN_PIPELINES_CONFIG": "- pipelines: [ApPipe.yaml]",
        "IMAGE_TIMEOUT": "8",
        "REPO_RETRY_DELAY": "0.1",
        "SASQUATCH_TOKEN": SECRET,
    }


@pytest.fixture
def start(environment, tmp_path):
    services = []
    (tmp_path / "pretended.py").write_text(textwrap.dedent(APPLICATION))

    def start(application="pretended:create()", **changes):
        services.append(Service({**environment, **changes}, application, tmp_path))
        return services[-1]

    yield start
    for service in services:
        service.stop()


@pytest.fixture
def upload(store, kafka, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    requests.post(f"{store}/moto-api/reset", timeout=10)
    client = make_s3_client(store)
    client.create_bucket(Bucket="raws")

    def upload(delay=0.0, times=1):
        time.sleep(delay)
        raw = format_raw_key("LSSTCam", 94, lsst_exposure_id(day_obs(time.time()), 578))
        client.put_object(Bucket="raws", Key=raw.sidecar_key(), Body=b'{"GROUPID": "the group"}')
        client.put_object(Bucket="raws", Key=raw.key, Body=b"raw")
        notice = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": raw.key}}}]}
        for _ in range(times):
            kafka[0].produce("notices", json.dumps(notice).encode())
        kafka[0].flush(10)
        return raw

    return upload


def test_all_problems_of_the_settings_are_told_and_the_exit_status_is_3(start):
    service = start(RUBIN_INSTRUMENT="NoSuchCamera", IMAGE_TIMEOUT="soon", SKYMAP="")
    assert service.process.wait(60) == 3
    text = service.log.read_text()
    assert all(name in text for name in ("RUBIN_INSTRUMENT", "IMAGE_TIMEOUT", "SKYMAP: not set"))
    assert SECRET not in text


def test_a_visit_is_processed_and_operators_see_it(start, upload):
    service = start().ready()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(service.post)
        raw = upload(delay=1.5, times=2)
        response = answer.result()
    assert response.status_code == 200, service.log.read_text()
    outcome = response.json()["outcome"]
    assert outcome["exposures"] == [raw.exposure]
    assert 0.0 < outcome["stages"]["wait"] < 9.0
    # Another group's image does not come for this one.
    response = service.post(groupId="no image")
    assert response.status_code == 500
    assert response.json()["outcome"]["retry"] == "useless"
    assert 'outcome="processed"} 1.0' in service.get("/metrics").text
    assert service.get("/metrics", side=False).text.count('outcome="failed"} 1.0') == 1
    assert service.get("/health", side=False).json() == {"live": True, "ready": True}
    assert service.stop() == 0
    lines = service.lines()
    line, _ = [line for line in lines if line["name"] == "lsst.activator.outcome"]
    assert line["outcome"] == outcome
    assert (line["group"], line["detector"], line["exposures"]) == ("the group", 94, [raw.exposure])
    assert SECRET not in service.log.read_text()
    assert not service.metrics_folder.exists()


def test_without_a_central_repository_it_lives_and_the_visit_may_be_retried(start):
    service = start(application=None)
    service.wait_until(lambda: service.get("/health/live", side=False).status_code == 200)
    assert service.get("/health").status_code == 503
    assert service.get("/health", side=False).status_code == 503
    response = service.post()
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "30"
    assert "central repository" in response.json()["message"]


def test_a_container_that_is_stopped_answers_its_visit_and_cleans(start, upload):
    service = start(SLOW_STEP="pipeline").ready()
    upload()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(service.post)
        service.wait_until(lambda: "reached pipeline" in service.output.read_text())
        # Somebody answers while the only worker is busy.
        assert service.get("/health").status_code == 200
        assert 'prompt_instances_processing{instrument="LSSTCam"} 1.0' in service.get("/metrics").text
        service.process.send_signal(signal.SIGTERM)
        response = answer.result()
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "30"
    assert "SIGTERM" in response.json()["message"]
    assert service.process.wait(60) == 0
    assert "cleaned" in service.output.read_text()
    with pytest.raises(requests.ConnectionError):
        service.get("/health")


def test_workers_run_side_by_side_within_their_time_and_are_replaced(start):
    service = start(
        WEB_CONCURRENCY="2", SLOW_STEP="preload", WORKER_TIMEOUT="5", WORKER_RESTART_FREQ="1"
    ).ready()
    service.wait_until(lambda: service.get("/health").json()["workers"] == 2)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda detector: service.post(detector=detector), (94, 95)))
    assert [answer.status_code for answer in answers] == [503, 503]
    assert all("WORKER_TIMEOUT" in answer.json()["message"] for answer in answers)
    assert service.post(private_sndStamp=0.0).status_code == 403
    service.stop()
    outcomes = [line for line in service.lines() if line["name"] == "lsst.activator.outcome"]
    assert len({line["process"] for line in outcomes}) == 3
    first, second = sorted(datetime.fromisoformat(line["asctime"]).timestamp() for line in outcomes[:2])
    assert second - first < 4.0
