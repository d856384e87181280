"""Where a visit's images are: the microservice that knows them, else the bucket itself."""

from __future__ import annotations

import logging

from prompt_processing.activator.storage.image_bucket import ArrivedImage, ImageBucket, detector_file_name
from prompt_processing.activator.storage.raw_microservice import MicroserviceError, RawMicroservice
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.raw_key import LSST_CAMERA_CODES

_log = logging.getLogger("lsst.activator.storage.arrived_images")


class ArrivedImages:
    """Ask the microservice if there is one, and the bucket where it fails.

    Parameters
    ----------
    bucket : `ImageBucket`
        The bucket.
    microservice : `RawMicroservice`, optional
        The service.
    """

    def __init__(self, bucket: ImageBucket, microservice: RawMicroservice | None = None) -> None:
        self._bucket = bucket
        self._microservice = microservice

    def find(self, visit: FannedOutVisit, now_unix_utc: float) -> list[ArrivedImage]:
        """Ask which images of a visit are there.

        Parameters
        ----------
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit.
        now_unix_utc : `float`
            The time now.

        Returns
        -------
        images : `list` [`ArrivedImage`]
            The images.

        Raises
        ------
        RetriableError
            Raised if nobody can be asked.
        """
        # The service names detectors as LSST's files do.
        if self._microservice is not None and visit.instrument in LSST_CAMERA_CODES:
            try:
                return self._ask_microservice(self._microservice, visit)
            except MicroserviceError as error:
                _log.warning("%s; the bucket is asked.", error.reason)
        return self._bucket.find(visit, now_unix_utc)

    def identify(self, notice: ArrivalNotice, visit: FannedOutVisit) -> ArrivedImage | None:
        """Tell whether a notice is about one of a visit's raws; see `ImageBucket.identify`."""
        return self._bucket.identify(notice, visit)

    def _ask_microservice(self, service: RawMicroservice, visit: FannedOutVisit) -> list[ArrivedImage]:
        name = detector_file_name(visit.instrument, visit.detector)
        images: list[ArrivedImage] = []
        snap = 0
        while visit.nimages == 0 or snap < visit.nimages:
            raw = service.find(visit.instrument, visit.groupId, snap, name)
            if raw is not None:
                image = self._bucket.located(raw.uri, visit, raw.arrival)
                if image is None:
                    raise MicroserviceError(
                        f"The raw microservice gave {raw.uri}, which is no raw of {visit}"
                    )
                images.append(image)
            elif visit.nimages == 0:
                break
            snap += 1
        return images
