"""A server that refuses the credentials is told from one that is down, and no secret is repeated."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from sqlalchemy.exc import OperationalError

from prompt_processing.transport.refusals import explain_refusal


def s3(code: str, status: int) -> ClientError:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetObject")  # type: ignore[arg-type]


def database(text: str) -> OperationalError:
    return OperationalError("INSERT ... hush", {"value": "hush"}, Exception(text))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NoCredentialsError(), "AWS_ACCESS_KEY_ID"),
        (s3("InvalidAccessKeyId", 403), "does not accept the credentials"),
        (s3("SignatureDoesNotMatch", 400), "does not accept the credentials"),
        (s3("AccessDenied", 403), "denies access"),
        (s3("Whatever", 401), "denies access"),
        (database('password authentication failed for user "me"'), "LSST_DB_AUTH"),
        (database('role "me" does not exist'), "does not let this user in"),
        (database("permission denied for table DiaSource"), "does not let this user in"),
        (AuthenticationError("no"), "Redis does not let this client in"),
        (NoPermissionError("no"), "Redis does not let this client in"),
        (ResponseError("NOAUTH Authentication required."), "Redis does not let this client in"),
    ],
)
def test_refusal_is_explained_whatever_it_is_wrapped_in(error: Exception, expected: str) -> None:
    wrapped = RuntimeError("hush")
    wrapped.__cause__ = ExceptionGroup("several", [ValueError("another"), error])
    for one in (error, wrapped):
        explanation = explain_refusal(one)
        assert explanation is not None
        assert expected in explanation
        assert "hush" not in explanation


@pytest.mark.parametrize(
    "error",
    [
        s3("SlowDown", 503),
        s3("NoSuchKey", 404),
        database("could not connect to server: Connection refused"),
        RedisError("Connection refused"),
        ResponseError("NOGROUP No such key"),
        ConnectionRefusedError("down"),
    ],
)
def test_server_that_is_down_has_not_refused_anybody(error: Exception) -> None:
    assert explain_refusal(error) is None


def test_failure_that_causes_itself_is_looked_at_once() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert explain_refusal(first) is None
