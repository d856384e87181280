"""Processes as the charts start them, with the services that they need."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import butler_world as world
import requests
import yaml
from astropy.time import Time
from chart_fixtures import PROJECT, container_of

from prompt_delivery.deployment.helm import ChartTree
from prompt_delivery.deployment.manifests import Container
from prompt_processing.domain.clock import day_obs, utc_to_tai
from prompt_processing.domain.visit import NextVisit
from prompt_processing.instruments.camera import load_camera
from prompt_processing.instruments.raw_key import format_raw_key, lsst_exposure_id
from prompt_processing.repository.central import make_central_repository
from prompt_processing.services.kafka import NOTICES_TOPIC, Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.programs import Program

HOST = "127.0.0.1"
DURATION = 5.0


class Pod:
    """The process of a container; its volumes are folders, and its image is this installation.

    Parameters
    ----------
    container
        Container of a chart.
    folder
        Folder for the volumes and the log.
    secrets
        Content of the Secret.
    files
        Content of the other volumes, by mount path.
    program
        Replacement for a container's command that is not part of this project.
    """

    def __init__(
        self,
        container: Container,
        folder: Path,
        secrets: Mapping[str, str],
        files: Mapping[str, Mapping[str, str]] | None = None,
        program: Program | None = None,
    ) -> None:
        self.container = container
        self.log = folder / "log"
        self._volumes: dict[str, str] = {}
        for mount in container.specification["volumeMounts"]:
            path = mount["mountPath"]
            place = folder / path.strip("/").replace("/", "-")
            place.mkdir(parents=True)
            self._volumes[path] = str(place)
            for name, content in (files or {}).get(path, {}).items():
                (place / name).write_text(content)
                self._volumes[f"{path}/{name}"] = str(place / name)
        command = [self._here(word) for word in container.command]
        bin_folder = Path(sys.executable).parent if program is None else program.path.parent
        image = {
            "PATH": f"{bin_folder}:/usr/bin:/bin",
            "HOME": self._here("/tmp"),
            "TMPDIR": self._here("/tmp"),
            "PROMPT_PROCESSING_DIR": str(PROJECT),
            **({} if program is None else program.environment),
        }
        settings = {name: self._here(value) for name, value in container.environment(secrets).items()}
        self._environment = {**image, **settings}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(bin_folder / command[0]), *command[1:]],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )

    def _here(self, text: str) -> str:
        return self._volumes.get(text, text)

    def succeeds(self, probe: str) -> bool:
        """Run a probe as the node would."""
        specification = self.container.specification[probe]
        timeout = specification.get("timeoutSeconds", 1)
        if "exec" in specification:
            command = specification["exec"]["command"]
            done = subprocess.run(
                command, env=self._environment, capture_output=True, text=True, check=False, timeout=timeout
            )
            return done.returncode == 0
        if "tcpSocket" in specification:
            return self.process.poll() is None
        http = self.container.probe(probe)
        assert http is not None
        try:
            return requests.get(f"http://{HOST}:{http[0]}{http[1]}", timeout=timeout).ok
        except requests.RequestException:
            return False

    def await_start(self) -> None:
        """Wait for the start as long as the node would before it kills the container."""
        probe = self.container.specification["startupProbe"]
        deadline = time.monotonic() + probe["periodSeconds"] * probe["failureThreshold"]
        while not self.succeeds("startupProbe"):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)
        for name in ("readinessProbe", "livenessProbe"):
            if name in self.container.specification:
                # A process that is alive may still wait for Kafka's first answer.
                while not self.succeeds(name):
                    assert time.monotonic() < deadline, f"{name}: {self.log.read_text()}"
                    time.sleep(0.2)

    def await_log(self, text: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.log.read_text()}"
            time.sleep(0.1)

    def await_end(self, seconds: float) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(self.log.read_text()) from None

    def stop(self) -> int:
        """End the process as a cluster does, within the pod's grace period."""
        grace = self.container.pod.get("terminationGracePeriodSeconds", 60)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.await_end(min(grace, 60))

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class ChartWorld:
    """A central repository, an APDB, a bucket and topics; and pods in it."""

    def __init__(
        self,
        folder: Path,
        tree: ChartTree,
        kafka: Kafka,
        postgresql: PostgreSql,
        store: ObjectStore,
        use: Callable[..., None],
    ) -> None:
        self.folder, self.tree, self.kafka, self.store = folder, tree, kafka, store
        use(postgresql, store)
        self.name = f"chart-{uuid.uuid4().hex[:10]}"
        self.client = store.client()
        self.client.create_bucket(Bucket=self.name)
        self.camera = load_camera(world.INSTRUMENT)
        # The small pipelines use no pixels of calibrations, but they use the detectors' positions.
        small = world.small_content(world.small_camera())
        content = dataclasses.replace(world.small_content(self.camera), calibrations=small.calibrations)
        self.pipelines = world.write_pipelines(folder / "pipelines")
        self.uri = str(folder / "central")
        make_central_repository(
            self.uri,
            self.camera,
            content,
            pipelines=list(self.pipelines.values()),
            database=postgresql.create_database(self.name),
            datastore=f"s3://{self.name}/central",
        )
        world.make_apdb(folder)
        access = {"url": f"postgresql://{HOST}:{postgresql.port}/*", "username": postgresql.username}
        self.secrets = {
            "s3_access_key": store.access_key,
            "s3_secret_key": store.secret_key,
            "db_auth": json.dumps([{**access, "password": postgresql.password}]),
            "kafka_password": kafka.password,
            "butler_writer_kafka_password": kafka.password,
        }
        self.pods: list[Pod] = []

    def worker_values(self, **further: Any) -> dict[str, Any]:
        """Values of a chart of workers."""
        main = [self.pipelines[stem] for stem in ("ApPipe", "SingleFrame", "Isr")]
        return {
            "instrument": {
                "name": world.INSTRUMENT,
                "skymap": "tiny",
                "pipelines": {
                    "preprocessing": [{"pipelines": [self.pipelines["Preprocessing"]]}],
                    "main": [{"pipelines": main}],
                },
            },
            "repository": {"central": self.uri},
            "images": {"bucket": self.name, "endpointUrl": self.store.url, "timeout": 60},
            "notices": {"kafkaCluster": self.kafka.bootstrap_servers, "topic": NOTICES_TOPIC},
            "apdb": {"config": str(self.folder / "apdb.yaml")},
            # Folder of the small pipelines' tasks.
            "env": {"PYTHONPATH": str(PROJECT / "tests" / "support")},
            **further,
        }

    def render(self, chart: str, values: Mapping[str, Any]) -> str:
        file = self.folder / f"{chart}-{uuid.uuid4().hex[:6]}.yaml"
        file.write_text(yaml.safe_dump(dict(values)))
        return self.tree.render(f"charts/{chart}", [file])

    def start(self, manifests: str, kind: str, **options: Any) -> Pod:
        # Of the two jobs, the one that the workers wait for.
        program = "prompt-initializer" if kind == "CronJob" else None
        container = container_of(manifests, kind, program)
        name = container.specification["name"]
        folder = self.folder / f"{name}-{len(self.pods)}"
        folder.mkdir()
        self.pods.append(Pod(container, folder, self.secrets, **options))
        return self.pods[-1]

    def announcement(self, group: str) -> NextVisit:
        now = utc_to_tai(time.time())
        return NextVisit.parse(
            {
                "salIndex": 1,
                "groupId": group,
                "coordinateSystem": 2,
                "position": [world.RA, world.DEC],
                "startTime": now + 5.0,
                "rotationSystem": 2,
                "cameraAngle": world.ROTATION,
                "filters": world.FILTER,
                "duration": DURATION,
                "nimages": 1,
                "instrument": world.INSTRUMENT,
                "survey": "test",
                "totalCheckpoints": 1,
                "private_sndStamp": now,
            }
        )

    def upload(self, group: str, sequence: int) -> int:
        """Put a raw into the bucket, as the camera does; return the exposure."""
        now = time.time()
        exposure = lsst_exposure_id(day_obs(now), sequence)
        times = {
            key: Time(utc_to_tai(now) + shift, format="unix_tai", scale="tai").isot
            for key, shift in (("DATE-OBS", -DURATION), ("DATE-BEG", -DURATION), ("DATE-END", 0.0))
        }
        file = world.write_raw(self.folder / "raws", self.camera, exposure=exposure, group=group, **times)
        key = format_raw_key(world.INSTRUMENT, world.DETECTOR, exposure)
        sidecar = json.dumps({"GROUPID": group}).encode()
        self.client.put_object(Bucket=self.name, Key=key.sidecar_key(), Body=sidecar)
        self.client.put_object(Bucket=self.name, Key=key.key, Body=file.read_bytes())
        return exposure

    def close(self) -> None:
        for pod in self.pods:
            pod.kill()
