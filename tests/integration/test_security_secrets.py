"""Secrets planted in every setting that takes one, and every client made to fail: none of them shows.

Once nobody is at the other end, and once real servers are there that refuse the credentials.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from prompt_processing.domain.clock import utc_to_tai

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).parents[2]
SECRETS = {
    name: f"hush-{name}-9f3a"
    for name in (
        "registry",
        "apdb",
        "s3",
        "session",
        "token",
        "proxy",
        "writer",
        "alerts",
        "sasl",
        "raws",
        "mpsky",
        "schemas",
        "pg",
    )
}
FORBIDDEN = re.compile(r"hush[^\"\s]{0,3}(" + "|".join(SECRETS) + ")")


@dataclass
class Run:
    """A process whose every word is kept."""

    process: subprocess.Popen
    output: Path
    answers: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def said(self, *words: str, seconds: float = 60.0) -> None:
        """Wait until it has said something."""
        deadline = time.monotonic() + seconds
        while not all(word in self.text for word in words):
            assert time.monotonic() < deadline, self.text[-3000:]
            assert self.process.poll() is None or all(word in self.text for word in words), self.text[-3000:]
            time.sleep(0.2)

    def answer(self, method: str, url: str, **options) -> requests.Response:
        """Ask it something as soon as it listens."""
        deadline = time.monotonic() + 90
        while True:
            try:
                response = requests.request(method, url, timeout=60, **options)
                break
            except requests.ConnectionError:
                assert time.monotonic() < deadline, self.text[-3000:]
                assert self.process.poll() is None, self.text[-3000:]
                time.sleep(0.3)
        self.answers += [response.text, str(response.headers)]
        return response

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture(params=["nobody there", pytest.param("refused", marks=pytest.mark.services)])
def ends(request):
    """Where the other ends are: Kafka, PostgreSQL, anything by HTTP."""
    if request.param == "nobody there":
        # The discard port, on which nobody listens.
        return {"kafka": "127.0.0.1:9", "postgresql": "127.0.0.1:9", "http": "127.0.0.1:9"}
    kafka, database = request.getfixturevalue("kafka"), request.getfixturevalue("postgresql")
    address = re.search(r"@?([\w.]+:\d+)/", database.url.partition("://")[2])
    assert address is not None, database.url
    return {"kafka": kafka.sasl_servers, "postgresql": address[1], "http": "127.0.0.1:9"}


@pytest.fixture
def environment(ends, tmp_path):
    http = f"http://user:{SECRETS['proxy']}@{ends['http']}"
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "butler.yaml").write_text(
        f"datastore:\n  cls: lsst.daf.butler.datastores.fileDatastore.FileDatastore\n  root: {repository}\n"
        f"registry:\n  db: postgresql://user:{SECRETS['registry']}@{ends['postgresql']}/central\n"
    )
    apdb = tmp_path / "apdb.yaml"
    apdb.write_text(
        f"db_url: postgresql://user:{SECRETS['apdb']}@{ends['postgresql']}/apdb\nimplementation_type: sql\n"
    )
    instruments = tmp_path / "instruments.yaml"
    instruments.write_text(
        json.dumps({"detectors": {"LSSTCam": {"94": True}}, "knative-urls": {"LSSTCam": http}})
    )
    inherited = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {
        **inherited,
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRETS["s3"],
        "AWS_SESSION_TOKEN": SECRETS["session"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "PGPASSWORD": SECRETS["pg"],
        "S3_ENDPOINT_URL": f"http://{ends['http']}",
        "LSST_RESOURCES_S3_PROFILE_other": f"http://key:{SECRETS['s3']}@{ends['http']}",
        # The worker and the initializer
        "RUBIN_INSTRUMENT": "LSSTCam",
        "SKYMAP": "sky",
        "CENTRAL_REPO": str(repository),
        "LOCAL_REPOS": str(tmp_path),
        "REPO_RETRY_DELAY": "0.1",
        "IMAGE_BUCKET": "raws",
        "IMAGE_TIMEOUT": "1",
        "RAW_MICROSERVICE": f"http://user:{SECRETS['raws']}@{ends['http']}",
        "KAFKA_CLUSTER": ends["kafka"],
        "BUCKET_TOPIC": "notices",
        "CONFIG_APDB": str(apdb),
        "PREPROCESSING_PIPELINES_CONFIG": f"- pipelines: [{PROJECT}/pipelines/LSSTCam/Preprocessing.yaml]",
        "MAIN_PIPELINES_CONFIG": f"- pipelines: [{PROJECT}/pipelines/LSSTCam/ApPipe.yaml]",
        "MP_SKY_URL": f"http://user:{SECRETS['mpsky']}@{ends['http']}",
        "SASQUATCH_URL": http,
        "SASQUATCH_TOKEN": SECRETS["token"],
        "USE_KAFKA_BUTLER_WRITER": "1",
        "BUTLER_WRITER_KAFKA_CLUSTER": ends["kafka"],
        "BUTLER_WRITER_KAFKA_TOPIC": "outputs",
        "BUTLER_WRITER_KAFKA_USERNAME": "writer",
        "BUTLER_WRITER_KAFKA_PASSWORD": SECRETS["writer"],
        "AP_KAFKA_SERVER": ends["kafka"],
        "AP_KAFKA_TOPIC": "alerts",
        "AP_KAFKA_PRODUCER_USERNAME": "producer",
        "AP_KAFKA_PRODUCER_PASSWORD": SECRETS["alerts"],
        "REDIS_STREAM_HOST": ends["http"],
        "REDIS_RETRY_DELAY": "0.2",
        "FANNED_OUT_MSG_LISTEN_TIMEOUT": "1",
        "SERVICE_LOG_LEVELS": ".=DEBUG",
        # The fan-out
        "SUPPORTED_INSTRUMENTS": "LSSTCam",
        "INSTRUMENT_CONFIG_FILE": str(instruments),
        "CONSUMER_GROUP": "fan-out",
        "KAFKA_SCHEMA_REGISTRY_URL": f"http://user:{SECRETS['schemas']}@{ends['http']}",
        "SASL_USERNAME": "user",
        "SASL_PASSWORD": SECRETS["sasl"],
        "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        # The writer and the raw microservice
        "BUTLER_REPOSITORY": str(repository),
        "KAFKA_TOPIC": "outputs",
        "KAFKA_OUTPUT_TOPIC": "events",
        "KAFKA_USERNAME": "writer",
        "KAFKA_PASSWORD": SECRETS["writer"],
        "OUTPUT_DATASET_LIST_DIRECTORY": str(tmp_path / "lists"),
        "USERS_BUCKET": "pool",
    }


@pytest.fixture
def start(environment, tmp_path):
    runs = []

    def start(*command: str, **changes: str) -> Run:
        output = tmp_path / f"output-{len(runs)}"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, *command],
                env={**environment, **changes},
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
            )
        runs.append(Run(process, output))
        return runs[-1]

    yield start
    for run in runs:
        run.stop()
    for run in runs:
        said = "\n".join([run.text, *run.answers])
        assert said.strip(), "it failed without a word"
        found = FORBIDDEN.search(said)
        assert found is None, said[max(0, found.start() - 1500) : found.end() + 200]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def visit() -> dict:
    now = utc_to_tai(time.time())
    return {
        "salIndex": 2,
        "groupId": "the group",
        "coordinateSystem": 2,
        "position": [155.5, -4.25],
        "startTime": now,
        "rotationSystem": 2,
        "cameraAngle": 12.5,
        "duration": 0.1,
        "nimages": 1,
        "instrument": "LSSTCam",
        "survey": "wide",
        "private_sndStamp": now,
        "detector": 94,
    }


def test_worker(start):
    port, metrics_port = free_port(), free_port()
    run = start("-m", "prompt_processing", "worker", "http", PORT=str(port), METRICS_PORT=str(metrics_port))
    event = {"specversion": "1.0", "id": "1", "source": "t", "type": "com.example.kafka", "data": visit()}
    response = run.answer(
        "POST",
        f"http://127.0.0.1:{port}/next-visit",
        data=json.dumps(event),
        headers={"Content-Type": "application/cloudevents+json"},
    )
    assert response.status_code in (500, 503), response.text
    run.answer("GET", f"http://127.0.0.1:{port}/version")
    run.answer("GET", f"http://127.0.0.1:{metrics_port}/metrics")
    run.said("central")


def test_stream_worker(start):
    run = start("-m", "prompt_processing", "worker", "stream", METRICS_PORT="0")
    run.process.wait(120)
    run.said("Redis")


def test_fan_out(start):
    run = start("-m", "prompt_processing", "fanout")
    run.said("Kafka" if "127.0.0.1:9" in run.text else "Ready")
    time.sleep(3.0)


def test_writer(start):
    run = start("-m", "prompt_processing", "writer")
    assert run.process.wait(120) != 0
    run.said("connection")


def test_raw_microservice(start):
    port = free_port()
    run = start("-m", "prompt_processing", "raws", "serve", PORT=str(port))
    response = run.answer("GET", f"http://127.0.0.1:{port}/LSSTCam/the-group/0/R22_S11")
    assert response.status_code == 503


def test_initializer(start):
    run = start("-m", "prompt_processing", "initializer")
    assert run.process.wait(120) != 0


def test_tester(start):
    run = start(str(PROJECT / "python" / "tester" / "upload.py"), "LSSTCam", "1")
    assert run.process.wait(120) != 0


def test_inspection(start):
    run = start("-m", "prompt_processing", "inspect", "--json")
    run.process.wait(120)
    run.said("SASQUATCH_TOKEN", "(set, not shown)")


def test_settings_that_are_not_usable(start):
    run = start(
        "-m", "prompt_processing", "worker", "http", PORT=SECRETS["token"], IMAGE_TIMEOUT=SECRETS["token"]
    )
    assert run.process.wait(120) == 3
    run.said("IMAGE_TIMEOUT")
