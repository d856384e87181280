"""Images are found through the raw microservice where it answers, and in the bucket otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, cast

import pytest

from prompt_processing.activator.storage.arrived_images import ArrivedImages
from prompt_processing.activator.storage.image_bucket import ArrivedImage, ImageBucket
from prompt_processing.activator.storage.raw_microservice import MicroserviceError, RawMicroservice
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.raw_key import format_raw_key
from prompt_processing.instruments.raw_store import RawStore

KEYS = [format_raw_key("LSSTCam", 94, 2025060900578 + snap) for snap in range(2)]
LOCATIONS = [f"s3://raws/{key.key}" for key in KEYS]
FROM_BUCKET = cast(ArrivedImage, "from the bucket")


class Bucket(ImageBucket):
    """Searches are answered with one image; locations are judged as by the real one."""

    def find(self, visit: FannedOutVisit, now_unix_utc: float) -> list[ArrivedImage]:
        return [FROM_BUCKET]


class Server(ThreadingHTTPServer):
    answers: list[Any]
    paths: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        status, body = self.server.answers.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.answers, server.paths = [], []
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def service(server: Server) -> RawMicroservice:
    return RawMicroservice(f"http://127.0.0.1:{server.server_port}/presence/")


@pytest.fixture
def images(service: RawMicroservice) -> ArrivedImages:
    return ArrivedImages(Bucket(RawStore(cast(Any, None), "raws")), service)


def present(location: str | None, date: object = None) -> tuple[int, dict[str, object]]:
    return 200, {"error": False, "present": True, "uri": location, "date": date}


ABSENT = 200, {"error": False, "present": False}
FAILED = 200, {"error": True, "message": "the database is down", "present": True, "uri": LOCATIONS[0]}


def test_each_snap_is_looked_up_by_instrument_group_index_and_detector(
    server: Server, images: ArrivedImages, world: Any
) -> None:
    server.answers = [present(location) for location in LOCATIONS]
    found = images.find(world.visit(nimages=2, groupId="a/b c"), 0.0)
    assert [image.exposure for image in found] == [key.exposure for key in KEYS]
    assert server.paths == [f"/presence/LSSTCam/a%2Fb%20c/{snap}/R22_S11" for snap in range(2)]


@pytest.mark.parametrize(
    ("nimages", "answers", "snaps"),
    [
        (1, [ABSENT], []),
        (2, [ABSENT, present(LOCATIONS[1])], [1]),
        (2, [present(LOCATIONS[0]), ABSENT], [0]),
        # Unknown number: until the first that is missing.
        (0, [ABSENT], []),
        (0, [present(LOCATIONS[0]), present(LOCATIONS[1]), ABSENT], [0, 1]),
    ],
)
def test_snaps_that_have_arrived_are_returned(
    server: Server, images: ArrivedImages, world: Any, nimages: int, answers: list[Any], snaps: list[int]
) -> None:
    server.answers = list(answers)
    found = images.find(world.visit(nimages=nimages), 0.0)
    assert [image.exposure for image in found] == [KEYS[snap].exposure for snap in snaps]
    assert server.answers == []


@pytest.mark.parametrize(
    "answer",
    [
        FAILED,
        (500, {}),
        (404, {}),
        (200, {}),
        (200, ["nonsense"]),
        (200, "nonsense"),
        present(None),
        present(""),
        present(f"s3://another/{KEYS[0].key}"),
    ],
)
def test_failing_service_is_logged_and_the_bucket_is_searched(
    server: Server, images: ArrivedImages, world: Any, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [answer]
    assert images.find(world.visit(), 0.0) == [FROM_BUCKET]
    assert "searching the bucket instead" in caplog.text


def test_reason_of_the_services_failure_is_passed_on(server: Server, service: RawMicroservice) -> None:
    server.answers = [FAILED]
    with pytest.raises(MicroserviceError, match="the database is down"):
        service.find("LSSTCam", "g", 0, "R22_S11")


@pytest.mark.parametrize(
    ("date", "arrival"),
    [
        ("2025-06-10T08:19:01", 1_749_543_541.0),
        ("2025-06-10T08:19:01Z", 1_749_543_541.0),
        ("2025-06-10T10:19:01+02:00", 1_749_543_541.0),
        ("yesterday", None),
        (1_749_543_541, None),
        (None, None),
    ],
)
def test_time_of_arrival_is_utc_unless_it_names_its_zone(
    server: Server, service: RawMicroservice, date: object, arrival: float | None
) -> None:
    server.answers = [present(LOCATIONS[0], date)]
    found = service.find("LSSTCam", "g", 0, "R22_S11")
    assert found is not None
    assert (found.uri, found.arrival) == (LOCATIONS[0], arrival)


def test_cameras_with_other_keys_and_sites_without_the_service_use_the_bucket(
    images: ArrivedImages, server: Server, world: Any
) -> None:
    assert images.find(world.visit(instrument="HSC", detector=50), 0.0) == [FROM_BUCKET]
    alone = ArrivedImages(Bucket(RawStore(cast(Any, None), "raws")))
    assert alone.find(world.visit(), 0.0) == [FROM_BUCKET]
    assert server.paths == []
