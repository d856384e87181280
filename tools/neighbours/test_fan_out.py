"""Their fan-out to our workers, and ours to their parsers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import yaml
from checkouts import Neighbours, Running
from fan_out_processes import announcement
from fault_servers import Servers, make_servers
from fault_world import FaultWorld
from real_services import started

from prompt_processing.activator.storage.visit_stream import VisitStream
from prompt_processing.demo.processes import Processes
from prompt_processing.domain.visit import FannedOutVisit, NextVisit
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.schema_registry import SchemaRegistryServer
from prompt_processing.services.service import free_port
from prompt_processing.services.stack import ServiceStack
from prompt_processing.tester.publish import Announcer
from prompt_processing.transport.kafka import make_producer
from prompt_processing.transport.schema_registry import SchemaRegistry


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("neighbours")
    with ServiceStack(folder / "services") as stack, pytest.MonkeyPatch.context() as patch:
        for kind in (Kafka, PostgreSql, RedisServer, ObjectStore, SchemaRegistryServer):
            started(stack, kind)
        made = make_servers(stack, folder, patch)
        yield made
        made.nursery.close()
        for proxy in made.proxies.values():
            proxy.close()


@pytest.fixture(scope="session")
def registry_at_root(servers: Servers) -> Iterator[str]:
    """Serve the registry without a path: kafkit, which theirs uses, drops Apicurio's."""
    behind = servers.stack.service(SchemaRegistryServer).url.rstrip("/")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = requests.get(behind + self.path, timeout=10)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def world(servers: Servers, tmp_path: Path) -> Iterator[FaultWorld]:
    folder = tmp_path / "world"
    folder.mkdir()
    made = FaultWorld(servers, folder, through_writer=False)
    yield made
    made.stop()


def configuration(folder: Path, url: str, stream: str, detectors: tuple[int, ...] = (94, 95)) -> Path:
    """Write the configuration; theirs wants every test group that it knows."""
    names = [f"HSC-TEST-{group}" for group in (59134, 59142, 59150, 59160)]
    names += [f"LSSTCam-TEST-2025050100{group}" for group in (367, 395, 463, 499, 553)]
    names += [f"LSSTCam-imSim-TEST-{group}" for group in (496960, 496989)]
    test_groups = {name: {0: True} for name in names}
    file = folder / "instruments.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "detectors": {"LSSTCam": dict.fromkeys(detectors, True) | {0: False}, **test_groups},
                "knative-urls": {"LSSTCam": url},
                "redis-streams": {"LSSTCam": stream},
            }
        )
    )
    return file


def settings(
    servers: Servers, config: Path, topic: str, platform: str, registry: str | None = None
) -> dict[str, str]:
    registry = registry or servers.stack.service(SchemaRegistryServer).url
    return {
        "SUPPORTED_INSTRUMENTS": "LSSTCam",
        "INSTRUMENT_CONFIG_FILE": str(config),
        "KAFKA_CLUSTER": servers.kafka.sasl_servers,
        "CONSUMER_GROUP": f"fan-out-{topic}",
        "NEXT_VISIT_TOPIC": topic,
        "OFFSET": "earliest",
        "MESSAGE_EXPIRATION": "3600",
        "KAFKA_SCHEMA_REGISTRY_URL": registry,
        "MAX_FAN_OUT_MESSAGES": "10",
        "RETRY_KNATIVE_REQUESTS": "true",
        "PLATFORM": platform,
        "REDIS_HOST": "127.0.0.1",
        "SASL_USERNAME": servers.kafka.username,
        "SASL_PASSWORD": servers.kafka.password,
        "SASL_MECHANISM": "SCRAM-SHA-512",
        "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    }


def announce(servers: Servers, topic: str, *visits: NextVisit) -> None:
    """Publish visits as the observatory does: Avro, framed with the schema's id."""
    registry = SchemaRegistry(servers.stack.service(SchemaRegistryServer).url)
    announcer = Announcer(make_producer(servers.kafka.plain), topic, registry)
    for visit in visits:
        announcer.publish(visit)


def test_their_fan_out_reaches_our_worker_over_http(
    neighbours: Neighbours,
    servers: Servers,
    world: FaultWorld,
    registry_at_root: str,
    new_name: Callable[[str], str],
) -> None:
    topic = new_name("next-visit")
    worker = world.start_web_worker()
    config = configuration(
        world.folder, f"http://127.0.0.1:{worker.port}/next-visit", "unused", detectors=(94,)
    )
    visit = world.visit()
    world.put_raw(visit)
    announce(servers, topic, NextVisit.parse(visit.model_dump()))
    source = neighbours.path("next_visit_fan_out", "src")
    environment = neighbours.environment(**settings(servers, config, topic, "knative", registry_at_root))
    with neighbours.running(
        neighbours.command("fan_out.py", source), environment, world.folder / "theirs.log"
    ) as theirs:
        theirs.wait_for(lambda text: "status code 200" in text, 180)
    (outcome,) = world.await_outcomes()
    assert outcome["status"] == "processed"


@pytest.mark.parametrize("platform", ["knative", "keda"])
def test_our_fan_out_reaches_their_parser(
    neighbours: Neighbours,
    servers: Servers,
    tmp_path: Path,
    new_name: Callable[[str], str],
    platform: str,
) -> None:
    topic, stream, port = new_name("next-visit"), new_name("instrument"), free_port()
    python = neighbours.path("prompt_processing", "python")
    config = configuration(tmp_path, f"http://127.0.0.1:{port}/next-visit", stream)
    group = "lsstcam_consumer_group"
    redis = servers.redis
    if platform == "knative":
        arguments: tuple[object, ...] = ("http", port)
    else:
        VisitStream(redis.host, stream, group, 3.0).open()
        arguments = ("redis", redis.host, stream, group, 2)
    parser = neighbours.command("parse_visits.py", python, *arguments)
    ours = settings(servers, config, topic, platform) | {"REDIS_HOST": redis.host, "METRICS_PORT": "0"}
    visit = announcement("a group")
    with (
        neighbours.running(parser, neighbours.environment(), tmp_path / "theirs.log") as theirs,
        Processes(tmp_path / "logs", {}) as processes,
    ):
        if platform == "knative":
            _await_port(port, theirs)
        announce(servers, topic, visit)
        processes.start("fan-out", ["prompt-fanout"], ours)
        visits = theirs.visits(2)
    assert sorted(one.get("detector", one) for one in visits) == [94, 95]
    expected = visit.model_dump(mode="json")
    for one in visits:
        for name, value in one.items():
            if name != "detector":
                assert value == pytest.approx(expected[name]), name


def _await_port(port: int, running: Running) -> None:
    def listens(_: str) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    running.wait_for(listens)


def test_their_fan_out_reaches_our_stream_reader(
    neighbours: Neighbours,
    servers: Servers,
    registry_at_root: str,
    tmp_path: Path,
    new_name: Callable[[str], str],
) -> None:
    topic, stream = new_name("next-visit"), new_name("instrument")
    config = configuration(tmp_path, "unused", stream)
    reader = VisitStream(servers.redis.host, stream, "lsstcam_consumer_group", 3.0)
    reader.open()
    visit = announcement("a group")
    announce(servers, topic, visit)
    source = neighbours.path("next_visit_fan_out", "src")
    command = neighbours.command("fan_out.py", source, servers.redis.port)
    environment = neighbours.environment(**settings(servers, config, topic, "keda", registry_at_root))
    with neighbours.running(command, environment, tmp_path / "theirs.log") as theirs:
        theirs.wait_for(lambda text: text.count("Sent msg") >= 2)
    entries = [reader.read(5.0) for _ in range(2)]
    reader.close()
    found = [FannedOutVisit.from_stream_entry(entry.fields) for entry in entries if entry is not None]
    found.sort(key=lambda one: one.detector)
    assert found == [visit.for_detector(detector) for detector in (94, 95)]
