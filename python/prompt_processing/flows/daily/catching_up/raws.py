"""List the raws of a night, in a bucket or in a folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from lsst.resources import ResourcePath

from prompt_processing.butler.formatters_raw import RAW_ENDINGS
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.flows.errors import FlowError
from prompt_processing.instruments.announcement import announcement_of
from prompt_processing.instruments.errors import RawError
from prompt_processing.instruments.header_files import read_detector_headers
from prompt_processing.instruments.headers import Observation, translate
from prompt_processing.instruments.raw_key import RawKey, has_night_keys
from prompt_processing.instruments.raw_store import STORE_FAILURES, RawStore

from .gaps import Arrived

__all__ = ["announcement_of_raw", "raws_in_bucket", "raws_in_folder"]

_log = logging.getLogger("lsst.flows.catching_up")

_LATEST_H = 48
"""Hours after the begin of a night within which its raws arrive."""


def raws_in_bucket(store: RawStore, instrument: str, night: int) -> list[Arrived]:
    """Return the raws of a night in a bucket.

    The keys of LSST's cameras name the night. Those of other cameras do not: there, raws count that arrived
    between the noon that begins the night and two days later.

    Raises
    ------
    FlowError
        Raised if the bucket does not answer.
    """
    try:
        return list(_in_bucket(store, instrument, night))
    except STORE_FAILURES as error:
        raise FlowError(f"the image bucket {store.name} does not answer: {error}") from error


def raws_in_folder(folder: Path, instrument: str, night: int) -> list[Arrived]:
    """Return the raws of science exposures of a night in a folder and those below.

    Raises
    ------
    FlowError
        Raised if there is no such folder.
    """
    if not folder.is_dir():
        raise FlowError(f"{folder} is not a folder")
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.name.lower().endswith(RAW_ENDINGS) or not path.is_file():
            continue
        for observation in _observations(path):
            if (
                observation.instrument == instrument
                and observation.day_obs == night
                and observation.observation_type == "science"
            ):
                found.append(
                    Arrived(
                        ResourcePath(str(path.absolute())).geturl(),
                        observation.group,
                        observation.exposure_id,
                        observation.detector,
                        path.stat().st_mtime,
                    )
                )
    return found


def announcement_of_raw(raws: tuple[Arrived, ...]) -> FannedOutVisit:
    """Return the announcement that the raws of a visit's detector would have had, from the first's header.

    Raises
    ------
    FlowError
        Raised if the raw cannot be read.
    """
    first = raws[0]
    try:
        with ResourcePath(first.uri).as_local() as local:
            (observation,) = [one for one in _observations(local.ospath) if one.detector == first.detector]
    except (OSError, ValueError) as error:
        raise FlowError(f"{first.uri} cannot be read: {error}") from error
    made = announcement_of(observation, first.at)
    return made.model_copy(update={"groupId": first.group, "nimages": len(raws)})


def _observations(path: str | Path) -> list[Observation]:
    try:
        return [translate(header, str(path)) for header in read_detector_headers(path).values()]
    except RawError as error:
        _log.warning("Not a raw: %s", error)
        return []


def _in_bucket(store: RawStore, instrument: str, night: int) -> Iterator[Arrived]:
    begin = datetime.strptime(f"{night} 12", "%Y%m%d %H").replace(tzinfo=UTC)
    window = begin.timestamp(), (begin + timedelta(hours=_LATEST_H)).timestamp()
    by_night = has_night_keys(instrument)
    groups: dict[int, str | None] = {}
    for key, at in store.objects(f"{instrument}/{night}/" if by_night else f"{instrument}/"):
        raw = RawKey.parse(key)
        if raw is None or raw.instrument != instrument or not (by_night or window[0] <= at < window[1]):
            continue
        group = raw.group
        if group is None:
            # All detectors of an exposure have one group.
            if raw.exposure not in groups:
                identity = store.identify(raw)
                groups[raw.exposure] = None if identity is None else identity.group
            group = groups[raw.exposure]
        if group is not None:
            yield Arrived(f"{store.uri}/{quote(key)}", group, raw.exposure, raw.detector, at)
