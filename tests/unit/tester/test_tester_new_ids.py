from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest
from moto import mock_aws
from mypy_boto3_s3 import S3Client

from prompt_processing.instruments import format_raw_key
from prompt_processing.tester.new_ids import new_exposures, new_group

BUCKET = "images"
NOW = datetime(2025, 6, 10, 1, 2, 3, 456_000, tzinfo=UTC).timestamp()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        client: S3Client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def put_raw(s3: S3Client, instrument: str, exposure: int, detector: int = 0) -> None:
    key = format_raw_key(instrument, detector, exposure, group="g", physical_filter="HSC-R2")
    s3.put_object(Bucket=BUCKET, Key=key.key, Body=b"")


def test_lsst_exposure_is_of_the_observing_day(s3: S3Client) -> None:
    (exposure,) = new_exposures(s3, BUCKET, "LSSTCam", 1, NOW)
    assert exposure // 100_000 == 20250609


def test_lsst_exposure_follows_the_highest_in_the_bucket(s3: S3Client) -> None:
    for sequence in (7, 60_000, 12):
        put_raw(s3, "LSSTCam", 20250609_00000 + sequence)
    assert new_exposures(s3, BUCKET, "LSSTCam", 2, NOW) == (2025060960001, 2025060960002)


def test_other_days_and_instruments_do_not_count(s3: S3Client) -> None:
    put_raw(s3, "LSSTCam", 20250608_90000)
    put_raw(s3, "LATISS", 20250609_90000)
    (exposure,) = new_exposures(s3, BUCKET, "LSSTCam", 1, NOW)
    assert exposure < 20250609_90000


def test_ids_grow_with_time_even_in_an_empty_bucket(s3: S3Client) -> None:
    for instrument in ("LSSTCam", "LATISS", "HSC"):
        (first,) = new_exposures(s3, BUCKET, instrument, 1, NOW)
        (later,) = new_exposures(s3, BUCKET, instrument, 1, NOW + 20)
        assert later > first


def test_day_without_numbers_left_is_an_error(s3: S3Client) -> None:
    put_raw(s3, "LSSTCam", 20250609_99999)
    with pytest.raises(ValueError, match="100000"):
        new_exposures(s3, BUCKET, "LSSTCam", 1, NOW)


def test_hsc_exposure_follows_the_highest_of_all_detectors(s3: S3Client) -> None:
    put_raw(s3, "HSC", 90_000_000, detector=5)
    put_raw(s3, "HSC", 90_000_007, detector=80)
    assert new_exposures(s3, BUCKET, "HSC", 2, NOW) == (90_000_008, 90_000_009)


def test_hsc_exposure_fits_its_eight_digits(s3: S3Client) -> None:
    (exposure,) = new_exposures(s3, BUCKET, "HSC", 1, datetime(2040, 1, 1, tzinfo=UTC).timestamp())
    assert len(str(exposure)) <= 8


def test_lsst_group_is_the_tai_time() -> None:
    assert new_group("LSSTCam", NOW, 2025060900001) == "2025-06-10T01:02:40.456"


def test_group_of_other_cameras_is_a_word_of_digits() -> None:
    assert new_group("HSC", NOW, 17_000_000) == "2025060917000000"
