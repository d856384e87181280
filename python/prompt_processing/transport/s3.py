"""Clients for S3 stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.handlers import validate_bucket_name

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def split_bucket(address: str) -> tuple[str | None, str]:
    """Split the address of a bucket into profile and name.

    Parameters
    ----------
    address : `str`
        ``bucket``, ``s3://bucket`` or ``s3://profile@bucket``, as `lsst.resources` reads it.

    Returns
    -------
    profile : `str` or `None`
        Profile of the shared credentials file; `None` for the default one.
    bucket : `str`
        Name of the bucket.
    """
    profile, _, bucket = address.removeprefix("s3://").strip("/").rpartition("@")
    return profile or None, bucket


def make_s3_client(
    endpoint_url: str | None = None,
    *,
    validate_bucket_names: bool = True,
    profile: str | None = None,
    credentials: tuple[str, str] | None = None,
    region: str | None = None,
    connect_timeout: float = 5.0,
    read_timeout: float = 20.0,
    attempts: int = 3,
) -> S3Client:
    """Make a client; by default boto3 finds the credentials.

    Parameters
    ----------
    endpoint_url : `str`, optional
        URL of the store; AWS by default.
    validate_bucket_names : `bool`, optional
        Whether to refuse non-standard names, such as Ceph's tenant buckets
        (``tenant:bucket``).
    profile : `str`, optional
        Profile of the shared credentials file.
    credentials : `tuple` [`str`, `str`], optional
        Access key and secret key, if they do not come from the environment.
    region : `str`, optional
        Region of the store, if it does not come from the environment.
    connect_timeout, read_timeout : `float`, optional
        Timeouts, seconds.
    attempts : `int`, optional
        Total number of attempts for a request.

    Returns
    -------
    client : ``S3Client``
        The client.
    """
    options: dict[str, Any] = {
        "connect_timeout": connect_timeout,
        "read_timeout": read_timeout,
        "retries": {"total_max_attempts": attempts, "mode": "standard"},
        # Some stores do not support the checksums that boto3 adds by default.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    access_key, secret_key = credentials or (None, None)
    session = boto3.session.Session(
        profile_name=profile,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
    )
    client = session.client("s3", endpoint_url=endpoint_url, config=Config(**options))
    if not validate_bucket_names:
        client.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    return client
