"""Query the Sattle service for sources that are not at the position of a satellite.

Two requests, both ``PUT`` with a JSON object:

1. ``<base>/visit_cache``: ``visit_id``, ``exposure_start_mjd``, ``exposure_end_mjd`` (TAI, days),
   ``boresight_ra``, ``boresight_dec`` (degrees), ``historical``. The service predicts all satellites near
   the field. Repeating it is harmless.
2. ``<base>/diasource_allow_list``: ``visit_id``, ``detector_id``, ``historical`` and ``diasources``, a list
   of ``diasource_id`` and ``bbox``, the four corners of a source's footprint as (ra, dec) in degrees. The
   response has ``allow_list``, the ids of the sources that no satellite touches; 404 means that the service
   does not know the visit.

(Source: the public repositories lsst-dm/sattle, lsst/pipe_tasks and lsst/ip_diffim.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.domain.errors import RetriableError
from prompt_processing.images import VisitInfo

if TYPE_CHECKING:
    import requests

__all__ = ["SatelliteService", "footprint_corners"]

_CONNECT_TIMEOUT_SECONDS = 3.0
_DAY_SECONDS = 86400.0


class SatelliteService:
    """The Sattle service, for one visit.

    Parameters
    ----------
    url
        Base URI of the service.
    visit
        The visit.
    timeout_seconds
        Largest time without a response.
    now
        Present time, for visits that are so old that the service must use the satellites of another day; by
        default the clock's.
    """

    def __init__(
        self, url: str, visit: VisitInfo, timeout_seconds: float = 20.0, now: Time | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._visit = visit
        self._timeout = (_CONNECT_TIMEOUT_SECONDS, timeout_seconds)
        age_days = float((now or Time.now()).tai.mjd) - visit.mid_mjd_tai
        self._historical = age_days > 1

    def announce(self) -> None:
        """Make the service predict the satellites near the field.

        Raises
        ------
        RetriableError
            Raised if the service does not accept it.
        """
        visit = self._visit
        half = 0.5 * visit.exposure_time / _DAY_SECONDS
        self._accepted(
            self._put(
                "visit_cache",
                {
                    "visit_id": visit.exposure,
                    "exposure_start_mjd": visit.mid_mjd_tai - half,
                    "exposure_end_mjd": visit.mid_mjd_tai + half,
                    "boresight_ra": visit.boresight_ra,
                    "boresight_dec": visit.boresight_dec,
                    "historical": self._historical,
                },
            )
        )

    def allowed(self, ids: NDArray[np.int64], corners: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which sources are not at the position of a satellite.

        Parameters
        ----------
        ids : `~numpy.ndarray`, shape (n,)
            Ids of the sources.
        corners : `~numpy.ndarray`, shape (n, 4, 2)
            Right ascension and declination of the corners of each footprint, degrees.

        Returns
        -------
        allowed : `~numpy.ndarray`, shape (n,)
            `False` where a satellite touches the footprint.

        Raises
        ------
        RetriableError
            Raised if there is no usable response: no source may be published then.
        """
        if not len(ids):
            return np.zeros(0, bool)
        question = {
            "visit_id": self._visit.exposure,
            "detector_id": self._visit.detector,
            "diasources": [
                {"diasource_id": int(identifier), "bbox": box}
                for identifier, box in zip(ids, corners.tolist(), strict=True)
            ],
            "historical": self._historical,
        }
        response = self._put("diasource_allow_list", question)
        if response.status_code == HTTPStatus.NOT_FOUND:
            # The service restarted, or an earlier announcement failed.
            self.announce()
            response = self._put("diasource_allow_list", question)
        self._accepted(response)
        try:
            named = {int(one) for one in _flat(response.json()["allow_list"])}
        except (ValueError, TypeError, KeyError) as error:
            raise RetriableError(
                f"Unreadable response from {response.url}: {type(error).__name__}: {error}"
            ) from error
        return np.array([int(one) in named for one in ids])

    def _put(self, path: str, content: Mapping[str, Any]) -> requests.Response:
        # Imported late: a worker is ready for visits before it asks the service.
        import requests

        url = f"{self._url}/{path}"
        try:
            return requests.put(url, json=content, timeout=self._timeout)
        except requests.RequestException as error:
            raise RetriableError(f"No response from the satellite service at {url}: {error}") from error

    def _accepted(self, response: requests.Response) -> None:
        if not response.ok:
            raise RetriableError(
                f"The satellite service at {response.url} answered {response.status_code}: "
                f"{response.text[:200]}"
            )


def footprint_corners(sources: Table, wcs: WCS) -> NDArray[np.float64]:
    """Return the corners of the footprints of sources on the sky.

    Parameters
    ----------
    sources : `~astropy.table.Table`
        Columns ``bboxMinX``, ``bboxMaxX``, ``bboxMinY``, ``bboxMaxY``, pixels.
    wcs : `~astropy.wcs.WCS`
        WCS of the image.

    Returns
    -------
    corners : `~numpy.ndarray`, shape (n, 4, 2)
        Right ascension and declination of the outer corners of the pixels, degrees, around each footprint.
    """
    left, right, bottom, top = (
        np.asarray(sources[name], float) + edge
        for name, edge in (("bboxMinX", -0.5), ("bboxMaxX", 0.5), ("bboxMinY", -0.5), ("bboxMaxY", 0.5))
    )
    x = np.stack([left, right, right, left], axis=1)
    y = np.stack([bottom, bottom, top, top], axis=1)
    if not len(x):
        return np.zeros((0, 4, 2))
    ra, dec = wcs.all_pix2world(x.ravel(), y.ravel(), 0)
    return np.stack([np.asarray(ra) % 360, dec], axis=1).reshape(-1, 4, 2)


def _flat(allow_list: Any) -> Iterator[Any]:
    """Yield the ids of a list; the service answers a question about one source with a list of lists."""
    if not isinstance(allow_list, list):
        raise TypeError(f"allow_list is a {type(allow_list).__name__}")
    for one in allow_list:
        if isinstance(one, list):
            yield from _flat(one)
        else:
            yield one
