"""New groups and exposure ids, which no raw in the image bucket has.

Ids follow the clock, so that they are not reused after the bucket has been emptied: the central repository
and the APDB may still know its former raws.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prompt_processing.domain.clock import day_obs, utc_to_tai
from prompt_processing.instruments.raw_key import RawKey, has_night_keys, lsst_exposure_id, visit_prefixes

from .pool import list_folders, list_keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["new_exposures", "new_group"]

_SECONDS_PER_DAY = 86_400
_TICK_S = 10
_TICKS_SINCE = datetime(2020, 1, 1, tzinfo=UTC).timestamp()


def new_group(instrument: str, now: float, exposure: int) -> str:
    """Return a new group id in the instrument's format.

    Parameters
    ----------
    instrument
        Short name.
    now
        Unix seconds, UTC.
    exposure
        New id of the group's first exposure.

    Returns
    -------
    group
        For LSST cameras, the time (TAI) to the millisecond; for others, the night and the exposure.
    """
    if has_night_keys(instrument):
        when = datetime.fromtimestamp(0, UTC) + timedelta(seconds=utc_to_tai(now))
        return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}"
    return f"{day_obs(now)}{exposure:08d}"


def new_exposures(
    s3: S3Client, bucket: str, instrument: str, n_exposures: int, now: float
) -> tuple[int, ...]:
    """Return new ids of consecutive exposures.

    Parameters
    ----------
    s3
        Client of the store.
    bucket
        The image bucket.
    instrument
        Short name.
    n_exposures
        Number of exposures.
    now
        Time, Unix seconds, UTC; determines the observing day.

    Returns
    -------
    exposures
        Ids above all others of the instrument (for LSST cameras, of the observing day) in the bucket.

    Raises
    ------
    ValueError
        Raised if no ids are left.
    """
    if not has_night_keys(instrument):
        taken = (
            key.exposure
            for name in list_keys(s3, bucket, f"{instrument}/")
            if (key := RawKey.parse(name)) is not None
        )
        first = max(max(taken, default=0) + 1, int((now - _TICKS_SINCE) / _TICK_S))
        if first + n_exposures > 10**8:
            raise ValueError(f"{bucket} holds {instrument} exposure {first - 1}: there are no ids left.")
        return tuple(range(first, first + n_exposures))
    day = day_obs(now)
    sequence = max(_last_sequence(s3, bucket, instrument, day) + 1, _seconds_into_day(now))
    return tuple(lsst_exposure_id(day, sequence + i) for i in range(n_exposures))


def _last_sequence(s3: S3Client, bucket: str, instrument: str, day: int) -> int:
    last = 0
    for prefix in visit_prefixes(instrument, 0, "", [day]):
        for obs_id in list_folders(s3, bucket, prefix):
            _, _, number = obs_id.rpartition("_")
            last = max(last, int(number) if number.isdecimal() else 0)
    return last


def _seconds_into_day(now: float) -> int:
    # The observing day begins at 12:00 TAI.
    return int(utc_to_tai(now) - _SECONDS_PER_DAY / 2) % _SECONDS_PER_DAY
