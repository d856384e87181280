"""Raws in a bucket, over S3's own protocol."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
from astropy.io import fits
from moto.server import ThreadedMotoServer

from prompt_processing.activator.services.wait_for_snaps import WaitForSnaps
from prompt_processing.activator.storage.arrived_images import ArrivedImages
from prompt_processing.activator.storage.image_bucket import ImageBucket
from prompt_processing.activator.storage.raw_microservice import MicroserviceError, RawMicroservice
from prompt_processing.domain.clock import day_obs, utc_to_tai
from prompt_processing.domain.errors import RetriableError
from prompt_processing.domain.notices import ArrivalNotice, parse_notices
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.raw_key import format_raw_key, lsst_exposure_id
from prompt_processing.instruments.raw_store import RawStore
from prompt_processing.transport.arrival_notices import ArrivalNotices
from prompt_processing.transport.kafka import KafkaSettings
from prompt_processing.transport.s3 import make_s3_client

pytestmark = pytest.mark.integration
GROUP = "2025-06-10T08:18:28.123"
BUCKET = "raws"


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    requests.post(f"{endpoint}/moto-api/reset", timeout=10)
    client = make_s3_client(endpoint)
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def bucket(client):
    return ImageBucket(RawStore(client, BUCKET))


def visit(**changes):
    now_tai = utc_to_tai(time.time())
    return FannedOutVisit.parse(
        {
            "salIndex": 2,
            "groupId": GROUP,
            "coordinateSystem": 1,
            "startTime": now_tai + 20.0,
            "rotationSystem": 1,
            "duration": 5.0,
            "nimages": 1,
            "instrument": "LSSTCam",
            "private_sndStamp": now_tai,
            "detector": 94,
            **changes,
        }
    )


def named_at(seconds):
    """Return the name of a group of a time, in seconds from now."""
    return datetime.fromtimestamp(utc_to_tai(time.time() + seconds), UTC).isoformat(timespec="milliseconds")[
        :-6
    ]


def raw_key(sequence, detector=94, instrument="LSSTCam"):
    return format_raw_key(instrument, detector, lsst_exposure_id(day_obs(time.time()), sequence))


def put(client, raw, group=GROUP, sidecar=True, body=b"raw"):
    if sidecar:
        client.put_object(Bucket=BUCKET, Key=raw.sidecar_key(), Body=json.dumps({"GROUPID": group}).encode())
    client.put_object(Bucket=BUCKET, Key=raw.key, Body=body)
    return raw


def header(group):
    hdu = fits.PrimaryHDU()
    hdu.header["INSTRUME"] = "LSSTCam"
    hdu.header["GROUPID"] = group
    return hdu.header.tostring().encode() + bytes(2880)


def find(bucket, visit):
    return [image.exposure for image in bucket.find(visit, time.time())]


def test_raws_of_the_group_and_detector_are_found_by_their_sidecar(client, bucket):
    wanted = put(client, raw_key(5))
    put(client, raw_key(6), group="another")
    put(client, raw_key(7, detector=95))
    (image,) = bucket.find(visit(), time.time())
    assert image.exposure == wanted.exposure
    assert image.uri.relativeToPathRoot == wanted.key
    assert image.arrival == pytest.approx(time.time(), abs=10.0)


@pytest.mark.parametrize("sidecar", [True, False])
def test_a_group_of_digits_is_known_with_and_without_quotation_marks(client, bucket, sidecar):
    number = 2025061000042
    raw = put(client, raw_key(5), group=number, sidecar=sidecar, body=header(number))
    text = put(client, raw_key(6), group=str(number), sidecar=sidecar, body=header(str(number)))
    assert sorted(find(bucket, visit(groupId=str(number), nimages=2))) == [raw.exposure, text.exposure]


def test_both_snaps_are_found(client, bucket):
    first, second = put(client, raw_key(5)), put(client, raw_key(6))
    assert sorted(find(bucket, visit(nimages=2))) == [first.exposure, second.exposure]
    assert sorted(find(bucket, visit(nimages=0))) == [first.exposure, second.exposure]


def test_a_raw_without_a_sidecar_is_known_by_its_header(client, bucket):
    raw = put(client, raw_key(5), sidecar=False, body=header(GROUP))
    put(client, raw_key(6), sidecar=False, body=header("another"))
    put(client, raw_key(7), sidecar=False, body=b"truncated")
    assert find(bucket, visit()) == [raw.exposure]


def test_a_compressed_raw_without_a_sidecar_is_known_by_its_header(client, bucket):
    exposure = raw_key(5).exposure
    raw = format_raw_key("LSSTCam", 94, exposure, extension=".fits.gz")
    put(client, raw, sidecar=False, body=gzip.compress(header(GROUP)))
    assert find(bucket, visit()) == [exposure]


def test_a_sidecar_that_cannot_be_read_does_not_hide_the_raw(client, bucket):
    raw = put(client, raw_key(5), body=header(GROUP))
    client.put_object(Bucket=BUCKET, Key=raw.sidecar_key(), Body=b"{")
    assert find(bucket, visit()) == [raw.exposure]


def test_an_empty_bucket_holds_nothing(bucket):
    assert find(bucket, visit()) == []


def test_a_full_night_is_not_read_again_for_every_visit(client, bucket):
    for sequence in range(1, 30):
        put(client, raw_key(sequence), group=f"group {sequence}")
    calls = []
    client.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    assert find(bucket, visit()) == []
    calls.clear()
    assert find(bucket, visit()) == []
    assert len(calls) <= 4


@pytest.mark.parametrize(
    "group", ["an hour later", named_at(3600.0), "2025-06-31T00:00:00"], ids=["other", "time", "no time"]
)
def test_raws_from_long_before_the_visit_end_the_search(client, bucket, group):
    for sequence in range(1, 30):
        put(client, raw_key(sequence), group=group)
    calls = []
    client.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    later = visit(groupId=group, private_sndStamp=utc_to_tai(time.time()) + 3600.0, nimages=0)
    assert find(bucket, later) == []
    assert "GetObject" not in calls


def test_raws_of_a_replayed_visit_are_found_in_the_folder_of_their_night(client, bucket):
    group = named_at(0.0)
    raws = [
        put(client, raw_key(sequence), group=group if sequence == 2 else "other") for sequence in (1, 2, 3)
    ]
    in_two_days = time.time() + 2 * 86400.0
    replayed = visit(
        groupId=group,
        private_sndStamp=utc_to_tai(in_two_days),
        startTime=utc_to_tai(in_two_days) + 2.0,
    )
    (image,) = bucket.find(replayed, in_two_days)
    assert image.exposure == raws[1].exposure


def test_hsc_raws_are_found_by_their_key(client, bucket):
    raw = format_raw_key("HSC", 50, 12345, group=GROUP, physical_filter="HSC-R")
    client.put_object(Bucket=BUCKET, Key=raw.key, Body=b"raw")
    assert find(bucket, visit(instrument="HSC", detector=50)) == [12345]
    assert find(bucket, visit(instrument="HSC", detector=51)) == []
    assert find(bucket, visit(instrument="HSC", detector=50, groupId="another")) == []


def test_a_notice_is_of_the_visit_if_instrument_detector_and_group_are(client, bucket):
    raw = put(client, raw_key(5))
    notice = ArrivalNotice((raw.key,), 123.0)
    image = bucket.identify(notice, visit())
    assert image is not None
    assert (image.exposure, image.arrival) == (raw.exposure, 123.0)
    assert bucket.identify(notice, visit(groupId="another")) is None
    assert bucket.identify(notice, visit(detector=95)) is None
    assert bucket.identify(notice, visit(instrument="LATISS", detector=0)) is None
    assert bucket.identify(ArrivalNotice((raw.sidecar_key(),)), visit()) is None
    assert bucket.identify(ArrivalNotice(("unobserved/readme.txt",)), visit()) is None


@pytest.mark.parametrize("encode", [True, False])
def test_a_key_is_recognised_encoded_and_plain(client, bucket, encode):
    raw = format_raw_key("HSC", 50, 12345, group=GROUP, physical_filter="HSC-R")
    key = raw.key.replace(":", "%3A") if encode else raw.key
    event = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key}}}]}
    (notice,) = parse_notices(json.dumps(event))
    image = bucket.identify(notice, visit(instrument="HSC", detector=50))
    assert image is not None
    assert image.uri.relativeToPathRoot == raw.key


def test_of_two_readings_of_a_key_the_one_that_exists_is_taken(client, bucket):
    key = f"HSC/50/{GROUP}/0/12345/a+b/raw.fits"
    client.put_object(Bucket=BUCKET, Key=key, Body=b"raw")
    event = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key}}}]}
    (notice,) = parse_notices(json.dumps(event))
    image = bucket.identify(notice, visit(instrument="HSC", detector=50))
    assert image is not None
    assert image.uri.relativeToPathRoot == key


def test_a_bucket_that_is_gone_may_come_back(client):
    with pytest.raises(RetriableError, match="elsewhere"):
        ImageBucket(RawStore(client, "elsewhere")).find(visit(), time.time())


def test_a_store_that_is_gone_may_come_back(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    gone = ImageBucket(RawStore(make_s3_client(f"http://127.0.0.1:{port}", attempts=1), BUCKET))
    with pytest.raises(RetriableError, match="does not answer"):
        gone.find(visit(), time.time())
    with pytest.raises(RetriableError, match="does not answer"):
        gone.identify(ArrivalNotice((raw_key(5).key,)), visit())


def test_bucket_names_outside_the_standard_can_be_allowed(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(RetriableError, match="Invalid bucket name"):
        ImageBucket(RawStore(make_s3_client(endpoint), "tenant:raws")).find(visit(), time.time())
    allowed = make_s3_client(endpoint, validate_bucket_names=False)
    with pytest.raises(RetriableError) as failure:
        ImageBucket(RawStore(allowed, "tenant:raws")).find(visit(), time.time())
    assert "Invalid bucket name" not in failure.value.reason


def test_without_kafka_the_image_is_found_in_the_bucket(client, bucket):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    notices = ArrivalNotices(KafkaSettings(bootstrap_servers=address), "notices", timeout=0.5)
    snaps = WaitForSnaps(notices, bucket, 20.0, asking_interval=0.3)
    snaps.subscribe()
    threading.Timer(1.0, lambda: put(client, raw_key(5))).start()
    (image,) = snaps.collect(visit())
    assert image.exposure == raw_key(5).exposure
    notices.close()


class FakeMicroservice(RawMicroservice):
    """Answers from a dictionary, or fails."""

    def __init__(self, answers):
        super().__init__("http://nowhere")
        self.answers = answers

    def find(self, instrument, group, snap, detector_name):
        if self.answers is None:
            raise MicroserviceError("It is gone.")
        return self.answers.get((group, snap, detector_name))


def test_the_microservice_is_asked_first_and_the_bucket_where_it_fails(client, bucket):
    raw = put(client, raw_key(5))
    silent = ArrivedImages(bucket, FakeMicroservice({}))
    assert silent.find(visit(), time.time()) == []
    failing = ArrivedImages(bucket, FakeMicroservice(None))
    assert [image.exposure for image in failing.find(visit(), time.time())] == [raw.exposure]


def test_the_microservice_speaks_the_contract(endpoint, httpserver_answers):
    base, requested, answers = httpserver_answers
    uri = f"s3://{BUCKET}/{raw_key(5).key}"
    answers.append(
        {"error": False, "message": "", "present": True, "uri": uri, "date": "2025-06-10T08:19:01Z"}
    )
    answers.append({"error": False, "message": "", "present": False})
    answers.append({"error": True, "message": "database is down", "present": False})
    answers.append(["nonsense"])
    service = RawMicroservice(f"{base}/presence/")
    found = service.find("LSSTCam", GROUP, 0, "R22_S11")
    assert found is not None
    assert (found.uri, found.arrival) == (uri, 1_749_543_541.0)
    assert service.find("LSSTCam", GROUP, 1, "R22_S11") is None
    with pytest.raises(MicroserviceError, match="database is down"):
        service.find("LSSTCam", GROUP, 2, "R22_S11")
    with pytest.raises(MicroserviceError):
        service.find("LSSTCam", GROUP, 3, "R22_S11")
    assert requested[0] == "/presence/LSSTCam/2025-06-10T08%3A18%3A28.123/0/R22_S11"


@pytest.fixture
def httpserver_answers():
    """A server that gives prepared answers one after the other."""
    requested, answers = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requested.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answers.pop(0)).encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", requested, answers
    server.shutdown()
    server.server_close()
