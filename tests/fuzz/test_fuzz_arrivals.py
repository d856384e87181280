"""Notices, object keys and sidecars: what others write into Kafka and the bucket."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus

import pytest
from botocore.exceptions import ClientError
from fuzz_inputs import (
    NASTY_TEXT,
    SHARE,
    VALUES,
    as_json,
    damaged,
    json_bytes,
    many_inputs,
    spoilt,
)
from hypothesis import given
from hypothesis import strategies as st

from prompt_processing.activator.storage.image_bucket import ImageBucket
from prompt_processing.activator.storage.raw_microservice import MicroserviceError, RawMicroservice
from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.notices import ArrivalNotice, parse_notices
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments import HeaderError, RawKey, format_raw_key, parse_sidecar
from prompt_processing.instruments.headers import translate
from prompt_processing.instruments.raw_key import has_night_keys
from prompt_processing.instruments.raw_store import RawStore
from prompt_processing.raw_microservice.bucket import RawBucket

LSST_KEY = "LSSTCam/20250609/MC_O_20250609_000578/MC_O_20250609_000578_R22_S11.fits"
HSC_KEY = "HSC/50/2025060900000001/0/12345/HSC-R/HSC-12345-050.fits"
VISIT = FannedOutVisit.parse(SHARE)
RECORD = {
    "eventVersion": "2.2",
    "eventName": "ObjectCreated:Put",
    "eventTime": "2025-06-10T08:19:40.123Z",
    "s3": {"bucket": {"name": "raws"}, "object": {"key": LSST_KEY, "size": 12}},
}
ANY_KEY = st.one_of(
    st.text(max_size=80),
    NASTY_TEXT,
    st.sampled_from([LSST_KEY, HSC_KEY]).flatmap(
        lambda key: damaged(key.encode()).map(lambda content: content.decode("latin-1"))
    ),
    st.tuples(st.sampled_from([LSST_KEY, HSC_KEY]), st.integers(0, 6), NASTY_TEXT).map(
        lambda parts: "/".join(
            [*parts[0].split("/")[: parts[1]], parts[2], *parts[0].split("/")[parts[1] + 1 :]]
        )
    ),
)


@many_inputs()
@given(
    message=st.one_of(
        json_bytes({"Records": [RECORD]}),
        spoilt(RECORD).map(lambda record: as_json({"Records": [record]})),
        spoilt({"key": LSST_KEY}).map(
            lambda item: as_json({"Records": [{**RECORD, "s3": {"object": item}}]})
        ),
        ANY_KEY.map(lambda key: as_json({"Records": [{**RECORD, "s3": {"object": {"key": key}}}]})),
        spoilt({"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "x"}).map(as_json),
    )
)
def test_any_message_is_notices_or_malformed(message):
    try:
        notices = parse_notices(message)
    except MalformedMessageError:
        return
    for notice in notices:
        assert all(notice.keys)
        assert notice.arrival is None or isinstance(notice.arrival, float)
        for key in notice.keys:
            RawKey.parse(key)


@many_inputs()
@given(
    key=st.text(min_size=1, max_size=100).filter(lambda key: key.isprintable()),
    how=st.sampled_from([str, quote, quote_plus]),
)
def test_the_key_is_among_those_that_its_notice_may_mean(key, how):
    (notice,) = parse_notices(as_json({"Records": [{**RECORD, "s3": {"object": {"key": how(key)}}}]}))
    assert key in notice.keys


@many_inputs()
@given(key=ANY_KEY)
def test_any_key_is_a_raw_or_is_none_and_never_leads_elsewhere(key):
    raw = RawKey.parse(key)
    if raw is None:
        return
    assert raw.key == key
    parts = key.split("/")
    assert not {"", ".", ".."} & set(parts)
    assert "\0" not in key
    assert len(key.encode()) <= 1024
    assert raw.sidecar_key().rpartition("/")[0] == key.rpartition("/")[0]
    assert raw.sidecar_key().endswith(".json")


@many_inputs()
@given(
    instrument=st.sampled_from(["LATISS", "LSSTComCam", "LSSTComCamSim", "LSSTCam", "HSC", "DECam"]),
    detector=st.integers(0, 200),
    day=st.dates(datetime(2010, 1, 1, tzinfo=UTC).date(), datetime(2049, 1, 1, tzinfo=UTC).date()),
    sequence=st.integers(0, 99_999),
    group=st.from_regex(r"[0-9A-Za-z:.T#+ %-]{1,40}", fullmatch=True),
    snap=st.integers(0, 9),
    physical_filter=st.from_regex(r"[A-Za-z0-9_~+ -]{1,20}", fullmatch=True),
    extension=st.sampled_from([".fits", ".fits.fz", ".fz", ".fits.gz"]),
)
def test_a_key_that_was_made_is_read_as_what_it_was_made_of(
    instrument, detector, day, sequence, group, snap, physical_filter, extension
):
    lsst = has_night_keys(instrument)
    exposure = int(f"{day:%Y%m%d}") * 100_000 + sequence if lsst else sequence
    try:
        made = format_raw_key(
            instrument,
            detector,
            exposure,
            group=group,
            snap=snap,
            physical_filter=physical_filter,
            extension=extension,
        )
    except ValueError:
        assert lsst or "." in group or "%" in group or not group.isprintable()
        return
    assert RawKey.parse(made.key) == made


class _Objects:
    """A bucket's objects, for the calls that read one."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def get_object(self, Bucket, Key, Range=None):
        if Key not in self._objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        content = self._objects[Key]
        return {"Body": io.BytesIO(content if Range is None else content[: 40 * 2880])}

    def head_object(self, Bucket, Key):
        if Key not in self._objects:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return {"LastModified": datetime.now(UTC)}


SIDECAR = {
    "GROUPID": VISIT.groupId,
    "CURINDEX": 1,
    "MAXINDEX": 1,
    "INSTRUME": "lsstCam",
    "__CONTENT__": "metadata",
}
CARDS = b"".join(
    card.ljust(80)
    for card in (b"SIMPLE  =                    T", b"GROUPID = '2025-06-10T08:18:28.123'", b"END")
).ljust(2880)


@many_inputs()
@given(
    sidecar=st.one_of(st.none(), json_bytes(SIDECAR)),
    image=st.one_of(st.none(), damaged(CARDS), st.binary(max_size=200)),
    name=st.sampled_from([LSST_KEY, LSST_KEY + ".gz", LSST_KEY + ".fz"]),
)
def test_the_group_is_found_or_not_whatever_lies_in_the_bucket(sidecar, image, name):
    objects = {
        key: value for key, value in ((name, image), (LSST_KEY[:-4] + "json", sidecar)) if value is not None
    }
    raw = RawKey.parse(name)
    assert raw is not None
    found = ImageBucket(RawStore(_Objects(objects), "raws")).identify(ArrivalNotice((name,), None), VISIT)
    assert found is None or found.exposure == raw.exposure
    identity = RawBucket(RawStore(_Objects(objects), "raws")).identify(raw)
    assert identity is None or isinstance(identity.group, str)


@many_inputs()
@given(text=json_bytes(SIDECAR))
def test_any_sidecar_is_a_header_or_is_refused(text):
    try:
        header = parse_sidecar(text, "a.json")
    except HeaderError:
        return
    assert isinstance(header, dict)
    with suppress(HeaderError):
        translate(header)


ANSWER = {
    "error": False,
    "message": "",
    "present": True,
    "uri": f"s3://raws/{LSST_KEY}",
    "date": "2025-06-10T08:19:40+00:00",
}


@pytest.mark.parametrize("status", [200, 500])
@many_inputs(0.5)
@given(
    body=st.one_of(
        json_bytes(ANSWER), spoilt(ANSWER, VALUES | NASTY_TEXT).map(lambda a: json.dumps(a).encode())
    )
)
def test_any_answer_of_the_microservice_is_an_image_or_its_failure(monkeypatch, status, body):
    import requests

    response = requests.Response()
    response.status_code, response._content = status, body
    service = RawMicroservice("http://127.0.0.1:9")
    monkeypatch.setattr(service._session, "get", lambda *args, **kwargs: response)
    try:
        found = service.find("LSSTCam", "g", 0, "R22_S11")
    except MicroserviceError:
        return
    assert found is None or found.uri
