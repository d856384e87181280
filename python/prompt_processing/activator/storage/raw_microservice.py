"""Client of the service that knows which raws have arrived."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from prompt_processing.domain.errors import PromptError
from prompt_processing.domain.json_text import parse_json


class MicroserviceError(PromptError):
    """The raw microservice did not answer."""


@dataclass(frozen=True)
class PresentRaw:
    """A raw that the service knows.

    Attributes
    ----------
    uri : `str`
        Location of the raw.
    arrival : `float` or `None`
        Time of arrival, Unix seconds, UTC.
    """

    uri: str
    arrival: float | None


class RawMicroservice:
    """Query the service for raws.

    Parameters
    ----------
    base_url : `str`
        Base URL of the service.
    timeout : `float`, optional
        Seconds that a request may take.
    """

    def __init__(self, base_url: str, timeout: float = 5.0) -> None:
        self._base = base_url.rstrip("/")
        self._timeout = timeout
        # Imported late: a worker is ready for visits before it asks the service.
        import requests

        self._session = requests.Session()

    def find(self, instrument: str, group: str, snap: int, detector_name: str) -> PresentRaw | None:
        """Look up one snap.

        Parameters
        ----------
        instrument, group : `str`
            The visit.
        snap : `int`
            Index of the snap, from 0.
        detector_name : `str`
            ``<raft>_<sensor>``.

        Returns
        -------
        raw : `PresentRaw` or `None`
            `None` if it has not arrived.

        Raises
        ------
        MicroserviceError
            Raised if the service fails.
        """
        path = "/".join(quote(part, safe="") for part in (instrument, group, str(snap), detector_name))
        try:
            response = self._session.get(f"{self._base}/{path}", timeout=self._timeout)
            response.raise_for_status()
            answer: dict[str, Any] = parse_json(response.content)
            if answer["error"]:
                raise MicroserviceError(f"The raw microservice failed: {answer.get('message')}")
            if not answer["present"]:
                return None
            if not answer["uri"]:
                raise MicroserviceError("The raw microservice failed: it reports an image without a URI.")
            return PresentRaw(uri=str(answer["uri"]), arrival=_unix_time(answer.get("date")))
        # `requests` raises OSError.
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MicroserviceError(
                f"The raw microservice failed: {type(error).__name__}: {error}"
            ) from error


def _unix_time(stamp: Any) -> float | None:
    try:
        when = datetime.fromisoformat(stamp)
    except (TypeError, ValueError):
        return None
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
