"""The image bucket, which the service queries on behalf of all workers."""

from __future__ import annotations

from collections.abc import Iterator

from prompt_processing.instruments.raw_key import RawKey, visit_prefixes
from prompt_processing.instruments.raw_store import ExposureIdentity, RawStore, exposure_of_folder

__all__ = ["RawBucket"]


class RawBucket:
    """List and identify raws of LSST cameras.

    Parameters
    ----------
    store : `~prompt_processing.instruments.raw_store.RawStore`
        The bucket.
    """

    def __init__(self, store: RawStore) -> None:
        self._store = store
        self.uri = store.uri

    def folders(self, instrument: str, nights: list[int]) -> list[tuple[int, str]]:
        """Return the exposures of the nights with their folders, newest first.

        Parameters
        ----------
        instrument : `str`
            Short name.
        nights : `list` [`int`]
            Observing days, ``YYYYMMDD``.
        """
        # Without detector and group: for these cameras a prefix contains the raws of a night.
        folders = (
            folder
            for prefix in visit_prefixes(instrument, 0, "", nights)
            for folder in self._store.folders(prefix)
        )
        found = ((exposure_of_folder(folder), folder) for folder in folders)
        return sorted(
            ((exposure, folder) for exposure, folder in found if exposure is not None), reverse=True
        )

    def raws(self, folder: str) -> Iterator[tuple[RawKey, float]]:
        """Yield the raws of an exposure, with their times of arrival.

        Parameters
        ----------
        folder : `str`
            Folder from `folders`.
        """
        for key, modified in self._store.objects(folder):
            if (raw := RawKey.parse(key)) is not None:
                yield raw, modified

    def identify(self, raw: RawKey) -> ExposureIdentity | None:
        """Read the group of a raw.

        Parameters
        ----------
        raw : `~prompt_processing.instruments.raw_key.RawKey`
            Raw of any detector of the exposure.

        Returns
        -------
        identity : `ExposureIdentity` or `None`
            `None` if neither the sidecar nor the image has it.
        """
        return self._store.identify(raw)
