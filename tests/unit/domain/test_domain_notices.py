"""S3 event JSON."""

import json

import pytest

from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.notices import parse_notices

KEY = "LSSTCam/20250609/MC_O_20250609_000578/MC_O_20250609_000578_R22_S11.fits"


def event(*keys, name="ObjectCreated:Put", stamp="2025-06-10T08:19:01.250Z"):
    return json.dumps(
        {"Records": [{"eventName": name, "eventTime": stamp, "s3": {"object": {"key": key}}} for key in keys]}
    )


@pytest.mark.parametrize("name", ["ObjectCreated:Put", "s3:ObjectCreated:CompleteMultipartUpload"])
def test_a_created_object_is_told(name):
    (notice,) = parse_notices(event(KEY, name=name))
    assert notice.keys == (KEY,)
    assert notice.arrival == pytest.approx(1_749_543_541.25)


@pytest.mark.parametrize(
    "message", [event(KEY, name="ObjectRemoved:Delete"), '{"Event": "s3:TestEvent"}', '{"Records": []}']
)
def test_what_creates_nothing_is_passed_over(message):
    assert parse_notices(message) == []


def test_an_encoded_key_and_a_plain_one_with_special_letters_are_both_possible():
    (notice,) = parse_notices(event("HSC/1/2023-10-11T01%3A45/0/1/g/a+b.fits"))
    assert notice.keys == ("HSC/1/2023-10-11T01:45/0/1/g/a b.fits", "HSC/1/2023-10-11T01%3A45/0/1/g/a+b.fits")


def test_a_notice_without_a_time_is_as_good():
    (notice,) = parse_notices(event(KEY, stamp=None))
    assert notice.arrival is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b'{"Records": 3}',
        b'{"Records": [null]}',
        b'{"Records": [{"eventName": null}]}',
        b'{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {}}}]}',
        b'{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": 3}}}]}',
    ],
)
def test_what_is_no_event_is_malformed(message):
    with pytest.raises(MalformedMessageError):
        parse_notices(message)


@pytest.mark.parametrize(
    "broken", [None, {}, {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": 3}}}]
)
def test_malformed_record_does_not_hide_the_others(broken):
    good = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": "a"}}}
    for records in ([broken, good], [good, broken]):
        assert [one.keys for one in parse_notices(json.dumps({"Records": records}))] == [("a",)]
