"""Distinguish a server that refuses credentials from one that is down; waiting helps only with the latter."""

from __future__ import annotations

import re
from collections.abc import Iterator

from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError
from sqlalchemy.exc import DBAPIError

__all__ = ["explain_refusal"]

_S3_KEYS = (
    "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the file that AWS_SHARED_CREDENTIALS_FILE names"
)
_WRONG_KEYS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "XAdminUserNotFound",
}
_DENIED_STATUS = {401, 403}
_DATABASE = re.compile(
    r"password authentication failed for user \S+|no password supplied|no pg_hba\.conf entry"
    r"|role \S+ (?:does not exist|is not permitted to log in)|permission denied for \w+(?: \S+)?"
)
_REDIS = re.compile(r"\b(NOAUTH|WRONGPASS|NOPERM)\b")


def explain_refusal(error: BaseException) -> str | None:
    """Explain that an object store, a database or Redis refuses the credentials, and what to check.

    Parameters
    ----------
    error : `BaseException`
        Exception of the client, or one raised from it; members of a group are checked as well.

    Returns
    -------
    explanation : `str` or `None`
        Explanation without secrets; `None` for all other failures.
    """
    for one in _chain(error):
        if text := _s3(one) or _database(one) or _redis(one):
            return text
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    met: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if any(one is other for other in met):
            continue
        met.append(one)
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting += [cause for cause in (one.__cause__, one.__context__) if cause is not None]


def _s3(error: BaseException) -> str | None:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return f"credentials for the object store are missing or incomplete: {_S3_KEYS}"
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _WRONG_KEYS:
            return f"the object store does not accept the credentials ({code}): {_S3_KEYS}"
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _DENIED_STATUS:
            return f"the object store denies access ({code}): check the bucket's policy, and {_S3_KEYS[6:]}"
    return None


def _database(error: BaseException) -> str | None:
    # The driver's message, because SQLAlchemy's quotes the statement with its values.
    if isinstance(error, DBAPIError) and (found := _DATABASE.search(str(error.orig))):
        return (
            f"the database does not let this user in ({found[0]}): check user and password in the file that "
            "LSST_DB_AUTH names, or in PGPASSFILE, and the user's rights"
        )
    return None


def _redis(error: BaseException) -> str | None:
    # Imported late: the client takes a tenth of a second, and only some processes use it.
    from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

    if isinstance(error, AuthenticationError | NoPermissionError) or (
        isinstance(error, RedisError) and _REDIS.search(str(error))
    ):
        return (
            f"Redis does not let this client in ({type(error).__name__}): visits need a Redis without a "
            "password, behind a network policy; check its requirepass and ACL, and its address"
        )
    return None
