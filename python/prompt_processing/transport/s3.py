"""Clients for S3 stores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from botocore.exceptions import ProfileNotFound

# Imported late otherwise: a worker is ready for visits before it needs a client.
if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client

__all__ = ["UnknownProfileError", "make_s3_client", "require_endpoint", "require_profile", "split_bucket"]

_PROFILE_VARIABLE = "LSST_RESOURCES_S3_PROFILE_"
"""Start of the variables of `lsst.resources` that hold a profile: ``https://<key id>:<key>@<host>``."""


class UnknownProfileError(ValueError):
    """The profile of a bucket is configured nowhere, or its configuration is malformed."""


def require_profile(address: str) -> str:
    """Return the address of a bucket, if its profile is known.

    Raises
    ------
    UnknownProfileError
        Raised if it is unknown.
    """
    profile, _ = split_bucket(address)
    if profile is not None:
        _open_session(profile, *_endpoint_of(profile, None)[1:])
    return address


def require_endpoint(endpoint_url: str | None, profile: str | None = None) -> None:
    """Check the URL of a store, as the first request would.

    Parameters
    ----------
    endpoint_url : `str` or `None`
        URL, which may hold credentials.
    profile : `str`, optional
        Profile, whose store may replace it.

    Raises
    ------
    UnknownProfileError
        Raised if it is not the URL of a host. The message does not hold it, as it may hold a secret.
    """
    url, *_ = _endpoint_of(profile, endpoint_url)
    if url is None:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UnknownProfileError(f"{_name_of_setting(profile)} is not a URL such as https://host:port")


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
        URL of the store, which may hold credentials; AWS by default.
    validate_bucket_names : `bool`, optional
        Whether to refuse non-standard names, such as Ceph's tenant buckets
        (``tenant:bucket``).
    profile : `str`, optional
        Profile of ``LSST_RESOURCES_S3_PROFILE_<profile>``, whose store then replaces ``endpoint_url``, or of
        the shared credentials file, as `lsst.resources` has it.
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

    Raises
    ------
    UnknownProfileError
        Raised if the profile is unknown.
    """
    from botocore.config import Config
    from botocore.handlers import validate_bucket_name

    options: dict[str, Any] = {
        "connect_timeout": connect_timeout,
        "read_timeout": read_timeout,
        "retries": {"total_max_attempts": attempts, "mode": "standard"},
        # Some stores do not support the checksums that boto3 adds by default.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    if credentials is None:
        endpoint_url, *found = _endpoint_of(profile, endpoint_url)
    else:
        found = list(credentials)
    session = _open_session(profile, *found, region=region)
    client = session.client("s3", endpoint_url=endpoint_url, config=Config(**options))
    if not validate_bucket_names:
        client.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    return client


def _endpoint_of(profile: str | None, endpoint_url: str | None) -> tuple[str | None, str | None, str | None]:
    """Return the URL of a store without credentials, and the access key and secret key that it held."""
    url = _address_of_profile(profile) or endpoint_url
    if not url:
        return None, None, None
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    held, at, host = host.rpartition("@")
    key, colon, secret = held.partition(":")
    if at and not (key and colon and secret and ":" not in secret):
        # Not the value: it holds a secret.
        name = _name_of_setting(profile)
        raise UnknownProfileError(f"{name} is not of the form https://<key id>:<key>@<host>")
    place = f"{scheme}{separator}{host}{slash}{path}"
    return (place, unquote(key), unquote(secret)) if at else (place, None, None)


def _address_of_profile(profile: str | None) -> str | None:
    return None if profile is None else os.environ.get(f"{_PROFILE_VARIABLE}{profile}")


def _name_of_setting(profile: str | None) -> str:
    """Return the name of the variable that has the URL of a store."""
    return f"{_PROFILE_VARIABLE}{profile}" if _address_of_profile(profile) else "S3_ENDPOINT_URL"


def _open_session(
    profile: str | None, access_key: str | None, secret_key: str | None, *, region: str | None = None
) -> boto3.session.Session:
    import boto3

    try:
        return boto3.session.Session(
            # With credentials of its own, a profile needs no entry in the shared file.
            profile_name=None if access_key else profile,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name=region,
        )
    except ProfileNotFound as error:
        raise UnknownProfileError(
            f"the profile {profile} is neither in {_PROFILE_VARIABLE}{profile} nor in the shared credentials "
            "file (AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials by default)"
        ) from error
