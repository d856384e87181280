"""A night on real servers, for fault injection."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import butler_world as world
import fault_pipeline
import requests
from fault_process import RunningWorker
from fault_servers import CENTRAL_BUCKET, DETECTORS, PRISTINE, Servers, environment_of
from psycopg.sql import SQL, Identifier

from prompt_processing.activator.storage.visit_stream import VisitStream
from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.fanout.destinations import KnativeServices, RedisStreams
from prompt_processing.fanout.metrics import FanOutMetrics
from prompt_processing.instruments.raw_key import format_raw_key
from prompt_processing.services.kafka import NOTICES_TOPIC
from prompt_processing.services.service import free_port
from prompt_processing.settings.worker import Settings

_SUPPORT = str(Path(__file__).parent)
FIRST_EXPOSURE = 2025_06_09_00700


class FaultWorld:
    """A copy of the central repository, an APDB, topics, a stream, and workers on them."""

    def __init__(self, servers: Servers, folder: Path, *, through_writer: bool = True) -> None:
        self.servers, self.folder, self.through_writer = servers, folder, through_writer
        name = uuid.uuid4().hex[:10]
        self.name = name
        self.raws = f"raw-{name}"
        self.stream = f"instrument:lsstcam-{name}"
        self.alerts_topic, self.outputs_topic = f"alerts-{name}", f"outputs-{name}"
        self.database = f"fault-{name}"
        self.group = "lsstcam_consumer_group"
        self.local, self.kept = folder / "local", folder / "kept"
        self.gates = folder / "gates"
        for path in (self.local, self.kept, self.gates, folder / "lists"):
            path.mkdir()
        self.workers: list[RunningWorker] = []
        self.writers: list[RunningWorker] = []
        self.sent: list[FannedOutVisit] = []
        self.answers: dict[tuple[str, int], list[str]] = {}
        self._exposures = 0
        self._senders: list[threading.Thread] = []
        self._copy_repository()
        servers.store.client().create_bucket(Bucket=self.raws)
        servers.kafka.create_topics(self.alerts_topic, self.outputs_topic, f"{self.outputs_topic}-done")

    def _copy_repository(self) -> None:
        servers = self.servers
        client = servers.store.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=CENTRAL_BUCKET)
        for page in pages:
            for item in page.get("Contents", []):
                if "/prompt/" in item["Key"] or "export" in item["Key"]:
                    client.delete_object(Bucket=CENTRAL_BUCKET, Key=item["Key"])
        with servers.postgresql.connect("postgres") as admin:
            admin.autocommit = True
            # An open connection of its creator would prevent the copy.
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (PRISTINE,)
            )
            copy = SQL("CREATE DATABASE {} TEMPLATE {}")
            admin.execute(copy.format(Identifier(self.database), Identifier(PRISTINE)))
        for kind, port in (("direct", servers.postgresql.port), ("", servers.proxies["postgresql"].port)):
            central = self.folder / f"{kind}central"
            shutil.copytree(servers.folder / "central", central)
            apdb = self.folder / f"{kind}apdb.yaml"
            shutil.copy(servers.folder / "apdb.yaml", apdb)
            for path in (central / "butler.yaml", apdb):
                text = path.read_text().replace(PRISTINE, self.database)
                path.write_text(text.replace(f":{servers.postgresql.port}/", f":{port}/"))

    @property
    def central_uri(self) -> str:
        """The repository, bypassing the proxies."""
        return str(self.folder / "directcentral")

    @property
    def apdb_uri(self) -> str:
        """The APDB, bypassing the proxies."""
        return str(self.folder / "directapdb.yaml")

    # Gates.

    def close(self, *names: str) -> None:
        """Pause workers at these gates."""
        for name in names:
            (self.gates / f"at-{name}").unlink(missing_ok=True)
            (self.gates / f"closed-{name}").touch()

    def open(self, *names: str) -> None:
        """Let workers pass."""
        for name in names:
            (self.gates / f"closed-{name}").unlink(missing_ok=True)

    def await_gate(self, name: str, seconds: float = 120.0) -> None:
        """Wait until a worker stops at a gate."""
        self.wait_until((self.gates / f"at-{name}").exists, f"no worker reached the gate {name}", seconds)

    # Processes.

    def settings(self, **changed: str) -> dict[str, str]:
        """Environment of a worker."""
        servers = self.servers
        paths = world.write_pipelines(self.folder / "pipelines", fault_pipeline.TASKS)
        inherited = {
            name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields
        }
        inherited.pop("PROMETHEUS_MULTIPROC_DIR", None)
        return {
            **inherited,
            **servers.store.environment(),
            "S3_ENDPOINT_URL": servers.store_url,
            "LSST_DB_AUTH": str(servers.folder / "db-auth.yaml"),
            "PYTHONPATH": os.pathsep.join((_SUPPORT, os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "FAULT_GATES": str(self.gates),
            "RUBIN_INSTRUMENT": world.INSTRUMENT,
            "SKYMAP": "tiny",
            "CENTRAL_REPO": str(self.folder / "central"),
            "LOCAL_REPOS": str(self.local),
            "REPO_RETRY_DELAY": "1",
            "IMAGE_BUCKET": self.raws,
            "KAFKA_CLUSTER": servers.kafka.bootstrap_servers,
            "BUCKET_TOPIC": NOTICES_TOPIC,
            "IMAGE_TIMEOUT": "8",
            "CONFIG_APDB": str(self.folder / "apdb.yaml"),
            "PREPROCESSING_PIPELINES_CONFIG": f"- pipelines: [{paths['Preprocessing']}]",
            "MAIN_PIPELINES_CONFIG": f"- pipelines: [{paths['ApPipe']}]",
            "AP_KAFKA_SERVER": servers.kafka.bootstrap_servers,
            "AP_KAFKA_TOPIC": self.alerts_topic,
            "ALERT_KEEP_DIR": str(self.kept),
            "REDIS_STREAM_HOST": f"127.0.0.1:{servers.proxies['redis'].port}",
            "REDIS_STREAM_NAME": self.stream,
            "REDIS_RETRY_DELAY": "0.5",
            "REDIS_STREAM_CLAIM_IDLE": "3",
            "METRICS_PORT": "0",
            "USE_KAFKA_BUTLER_WRITER": "1" if self.through_writer else "0",
            "BUTLER_WRITER_KAFKA_CLUSTER": servers.kafka.bootstrap_servers,
            "BUTLER_WRITER_KAFKA_TOPIC": self.outputs_topic,
            **changed,
        }

    def start_stream_worker(self, *, wrap: Iterable[str] = (), **changed: str) -> RunningWorker:
        """Start a worker that reads the Redis stream, optionally wrapped in another command."""
        settings = self.settings(**changed)
        if command := list(wrap):
            return self._start([*command, sys.executable, "-m", "fault_worker"], settings)
        return self._fork("worker", settings)

    def start_web_worker(self, **changed: str) -> RunningWorker:
        """Start gunicorn with a worker, and wait until it is ready."""
        port, health = free_port(), free_port()
        settings = self.settings(PORT=str(port), METRICS_PORT=str(health), **changed)
        command = [sys.executable, "-m", "prompt_processing", "worker", "http", "fault_worker:create()"]
        worker = self._start(command, settings, port, health)

        def ready() -> bool:
            with suppress(requests.RequestException):
                return requests.get(f"http://127.0.0.1:{health}/health", timeout=5).status_code == 200
            return False

        self.wait_until(ready, "the service is not ready")
        return worker

    def start_writer(self) -> RunningWorker:
        """Start the Butler writer service."""
        environment = {
            **os.environ,
            **environment_of(self.servers),
            "BUTLER_REPOSITORY": str(self.folder / "central"),
            "S3_ENDPOINT_URL": self.servers.store_url,
            "KAFKA_CLUSTER": self.servers.kafka.bootstrap_servers,
            "KAFKA_TOPIC": self.outputs_topic,
            "KAFKA_OUTPUT_TOPIC": f"{self.outputs_topic}-done",
            "KAFKA_TRANSACTIONAL_ID": self.outputs_topic,
            "OUTPUT_DATASET_LIST_DIRECTORY": str(self.folder / "lists"),
            "WRITER_RETRY_DELAY": "0.5",
        }
        environment.pop("KAFKA_USERNAME", None)
        writer = self._fork("writer", environment)
        self.workers.remove(writer)
        self.writers.append(writer)
        return writer

    def _fork(self, program: str, environment: dict[str, str]) -> RunningWorker:
        log = self.folder / f"process-{len(self.workers) + len(self.writers)}.log"
        process = self.servers.nursery.start(program, environment, self.folder, log)
        self.workers.append(RunningWorker(process, log))
        return self.workers[-1]

    def _start(
        self, command: list[str], environment: dict[str, str], port: int = 0, health: int = 0
    ) -> RunningWorker:
        log = self.folder / f"process-{len(self.workers) + len(self.writers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.workers.append(RunningWorker(process, log, port, health))
        return self.workers[-1]

    # Visits.

    def visit(self, *, detector: int = DETECTORS[0], **changed: Any) -> FannedOutVisit:
        """Make a visit that is announced now."""
        fields = {
            "groupId": f"group {uuid.uuid4().hex[:8]}",
            "detector": detector,
            "duration": 1.0,
            "private_sndStamp": utc_to_tai(time.time()),
        }
        return world.make_visit(**(fields | changed))

    def stream_visit(self, visit: FannedOutVisit) -> FannedOutVisit:
        """Send a visit as the fan-out does for KEDA."""

        async def send() -> str:
            streams = RedisStreams(
                {world.INSTRUMENT: self.stream}, self.servers.redis.host, 3600.0, FanOutMetrics()
            )
            try:
                return await streams.send(visit)
            finally:
                await streams.close()

        assert asyncio.run(send()) == "accepted"
        self.sent.append(visit)
        return visit

    def post_visit(
        self, visit: FannedOutVisit, *workers: RunningWorker, retry: bool = False
    ) -> FannedOutVisit:
        """Send a visit as the fan-out does for Knative, to several workers at once, without waiting."""
        if visit not in self.sent:
            self.sent.append(visit)
        answers = self.answers.setdefault((visit.groupId, visit.detector), [])

        def send(worker: RunningWorker) -> None:
            async def post() -> str:
                url = f"http://127.0.0.1:{worker.port}/next-visit"
                services = KnativeServices({world.INSTRUMENT: url}, "t", 4, retry, 3600.0, FanOutMetrics())
                try:
                    return await services.send(visit)
                finally:
                    await services.close()

            answers.append(asyncio.run(post()))

        for worker in workers:
            thread = threading.Thread(target=send, args=(worker,), daemon=True)
            thread.start()
            self._senders.append(thread)
        return visit

    def await_answers(self, seconds: float = 180.0) -> None:
        """Wait until every posted visit is answered, or its connection is lost."""
        for thread in self._senders:
            thread.join(seconds)
            assert not thread.is_alive(), f"a visit has no answer:\n{self.logs()}"

    def next_exposure(self) -> int:
        """Return an exposure id that this test has not used."""
        self._exposures += 1
        return FIRST_EXPOSURE + self._exposures

    def put_raw(self, visit: FannedOutVisit, exposure: int | None = None) -> int:
        """Let the image of a visit arrive."""
        exposure = exposure or self.next_exposure()
        path = world.write_raw(
            self.folder / "raws",
            world.small_camera(),
            detector=visit.detector,
            exposure=exposure,
            group=visit.groupId,
        )
        key = format_raw_key(world.INSTRUMENT, visit.detector, exposure)
        client = self.servers.store.client()
        sidecar = json.dumps({"GROUPID": visit.groupId}).encode()
        client.put_object(Bucket=self.raws, Key=key.sidecar_key(), Body=sidecar)
        client.put_object(Bucket=self.raws, Key=key.key, Body=path.read_bytes())
        return exposure

    # Waiting.

    def wait_until(self, condition: Callable[[], bool], otherwise: str, seconds: float = 120.0) -> None:
        """Wait, or fail with all logs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{otherwise} within {seconds:g} s\n{self.logs()}"
            time.sleep(0.1)

    def final_outcomes(self) -> list[dict[str, Any]]:
        """Return the final outcomes of all workers, after which a visit is not retried."""
        records = [record for worker in self.workers for record in worker.outcomes()]
        return [record for record in records if record["outcome"]["status"] != "retriable"]

    def await_outcomes(self, count: int = 1, seconds: float = 180.0) -> list[dict[str, Any]]:
        """Wait for final outcomes, and return their outcome parts in order of time."""
        self.wait_until(lambda: len(self.final_outcomes()) >= count, f"no {count} outcome(s)", seconds)
        records = sorted(self.final_outcomes(), key=lambda record: record["asctime"])
        return [record["outcome"] for record in records]

    def stream_is_settled(self) -> bool:
        """Return whether no visit is unread or pending on the stream."""
        with self.servers.redis.client() as client:
            if not client.exists(self.stream):
                return True
            pending: Any = client.xpending(self.stream, self.group)
            return bool(client.xlen(self.stream) == 0 and pending["pending"] == 0)

    def other_consumer(self) -> VisitStream:
        """Return a client of the stream beside the workers."""
        return VisitStream(self.servers.redis.host, self.stream, self.group, 3.0)

    def logs(self) -> str:
        """Return all logs, for the message of a failure."""
        return "\n".join(
            f"--- {one.log.name}\n{one.log.read_text(errors='replace')[-6000:]}"
            for one in (*self.workers, *self.writers)
        )

    def stop(self) -> None:
        """Kill all remaining processes."""
        for one in (*self.workers, *self.writers):
            one.kill()
        for proxy in self.servers.proxies.values():
            proxy.flow()
            proxy.cut()
        for _, server in self.servers.stack:
            server.resume()
