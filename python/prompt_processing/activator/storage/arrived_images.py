"""Find a visit's images through the raw microservice or, if it fails, in the bucket."""

from __future__ import annotations

import logging

from prompt_processing.activator.storage.image_bucket import ArrivedImage, ImageBucket, detector_file_name
from prompt_processing.activator.storage.raw_microservice import MicroserviceError, RawMicroservice
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.raw_key import has_night_keys

_log = logging.getLogger("lsst.activator.storage.arrived_images")


class ArrivedImages:
    """Images found through the microservice, if one is configured, or in the bucket.

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
        """Return the images of a visit that have arrived.

        Parameters
        ----------
        visit : `~prompt_processing.domain.visit.FannedOutVisit`
            The visit.
        now_unix_utc : `float`
            Current time, Unix seconds, UTC.

        Returns
        -------
        images : `list` [`ArrivedImage`]
            Images that have arrived.

        Raises
        ------
        RetriableError
            Raised if neither the microservice nor the bucket answers.
        """
        # The service uses the detector names of LSST files.
        if self._microservice is not None and has_night_keys(visit.instrument):
            try:
                return self._ask_microservice(self._microservice, visit)
            except MicroserviceError as error:
                _log.warning("%s; searching the bucket instead.", error.reason)
        return self._bucket.find(visit, now_unix_utc)

    def identify(self, notice: ArrivalNotice, visit: FannedOutVisit) -> ArrivedImage | None:
        """Return the raw of a visit that a notice announces; see `ImageBucket.identify`."""
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
                        f"The raw microservice returned {raw.uri}, which is not a raw of {visit}"
                    )
                images.append(image)
            elif visit.nimages == 0:
                break
            snap += 1
        return images
