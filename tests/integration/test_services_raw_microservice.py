"""The raw microservice as a process, on a real store that publishes its notices to real Kafka."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from prompt_processing.activator.storage.arrived_images import ArrivedImages
from prompt_processing.activator.storage.image_bucket import ImageBucket
from prompt_processing.activator.storage.raw_microservice import MicroserviceError, RawMicroservice
from prompt_processing.domain.clock import day_obs, utc_to_tai
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.raw_key import format_raw_key, lsst_exposure_id
from prompt_processing.instruments.raw_store import RawStore
from prompt_processing.services.kafka import NOTICES_TOPIC, Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.service import free_port

pytestmark = pytest.mark.services

DETECTOR, NAME = 94, "R22_S11"


class Microservice:
    """A running service and its bucket."""

    def __init__(self, folder: Path, kafka: Kafka, store: ObjectStore, bucket: str) -> None:
        self.store, self.bucket = store, bucket
        self.client = store.client()
        self.client.create_bucket(Bucket=bucket)
        self.log = folder / "microservice.log"
        self.port = free_port()
        self.environment = {
            **os.environ,
            **store.environment(),
            "IMAGE_BUCKET": bucket,
            "KAFKA_CLUSTER": kafka.bootstrap_servers,
            "BUCKET_TOPIC": NOTICES_TOPIC,
            "BUCKET_INTERVAL": "1000",
            "PORT": str(self.port),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prompt_processing", "raws", "serve"],
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        self.wait_until(lambda: requests.get(f"{self.url}/health", timeout=2).ok)
        self.wait_until(lambda: "Receiving notices" in self.log.read_text())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, group: str, sequence: int, snap: int = 0) -> str:
        exposure = lsst_exposure_id(day_obs(time.time()), sequence)
        raw = format_raw_key("LSSTCam", DETECTOR, exposure)
        header = json.dumps({"GROUPID": group, "CURINDEX": snap + 1, "MAXINDEX": 2}).encode()
        self.client.put_object(Bucket=self.bucket, Key=raw.sidecar_key(), Body=header)
        self.client.put_object(Bucket=self.bucket, Key=raw.key, Body=b"raw")
        return f"s3://{self.bucket}/{raw.key}"

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except requests.RequestException:
                pass
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def microservice(
    tmp_path: Path, kafka: Kafka, object_store: ObjectStore, new_name: Callable[[str], str]
) -> Iterator[Microservice]:
    service = Microservice(tmp_path, kafka, object_store, new_name("raw"))
    yield service
    service.stop()


def test_workers_learn_of_raws_from_notices_and_from_before_its_start(microservice: Microservice) -> None:
    before = microservice.put("before", 1)
    microservice.start()
    ask = RawMicroservice(microservice.url)
    found = ask.find("LSSTCam", "before", 0, NAME)
    assert found is not None
    assert found.uri == before
    # Only a notice can tell of this one: the bucket's answer still holds.
    assert ask.find("LSSTCam", "after", 1, NAME) is None
    after = microservice.put("after", 2, snap=1)
    microservice.wait_until(lambda: ask.find("LSSTCam", "after", 1, NAME) is not None)
    found = ask.find("LSSTCam", "after", 1, NAME)
    assert found is not None
    assert found.uri == after
    assert found.arrival is not None
    assert abs(found.arrival - time.time()) < 60
    assert ask.find("LSSTCam", "after", 0, NAME) is None
    assert microservice.stop() == 0


def test_worker_asks_the_bucket_itself_where_the_service_is_not(microservice: Microservice) -> None:
    uri = microservice.put("a", 1)
    ask = RawMicroservice(microservice.url)
    with pytest.raises(MicroserviceError):
        ask.find("LSSTCam", "a", 0, NAME)
    now = time.time()
    visit = FannedOutVisit.parse(
        {
            "groupId": "a",
            "instrument": "LSSTCam",
            "detector": DETECTOR,
            "coordinateSystem": 2,
            "position": [1.0, 2.0],
            "startTime": utc_to_tai(now),
            "rotationSystem": 2,
            "cameraAngle": 0.0,
            "filters": "r_57",
            "duration": 5.0,
            "nimages": 1,
            "survey": "s",
            "salIndex": 1,
            "private_sndStamp": utc_to_tai(now),
        }
    )
    images = ArrivedImages(ImageBucket(RawStore(microservice.client, microservice.bucket)), ask)
    assert [image.uri.geturl() for image in images.find(visit, now)] == [uri]
    microservice.start()
    assert [image.uri.geturl() for image in images.find(visit, now)] == [uri]
