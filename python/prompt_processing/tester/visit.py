"""Take one visit as the telescope does: announce, expose, read out and upload."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prompt_processing.instruments import Observation, read_header, translate

from .image_writer import Snap, SourceRaw, UploadedRaw
from .new_ids import new_exposures, new_group
from .publish import Announcer, make_next_visit

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["SAL_INDEX_OF_NORMAL_VISITS", "Schedule", "Telescope"]

_log = logging.getLogger("lsst.tester")

SAL_INDEX_OF_NORMAL_VISITS = 999
"""Script queue that selects no test group: all active detectors of the camera are processed."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Durations of the phases of a visit, seconds.

    Attributes
    ----------
    slew
        Time from the announcement to the opening of the shutter.
    exposure
        Time from the opening of the shutter to the image's arrival, for each snap.
    """

    slew: float = 2.0
    exposure: float = 18.0

    def duration(self, n_snaps: int) -> float:
        """Return the seconds from the announcement to the last image."""
        return self.slew + n_snaps * self.exposure


class Telescope:
    """Simulated telescope: announces visits, waits, and has their raws written under new identities.

    Parameters
    ----------
    s3
        Client of the store.
    image_bucket
        Bucket in which raws arrive; it determines which ids are free.
    announcer
        Publisher of the visits.
    write
        Function that writes the images of a snap: `ImageWriter.write`, or one that distributes the work.
    schedule
        Durations of the phases of a visit.
    survey
        Survey announced with each visit.
    """

    def __init__(
        self,
        s3: S3Client,
        image_bucket: str,
        announcer: Announcer,
        write: Callable[[Sequence[SourceRaw], Snap], list[UploadedRaw]],
        schedule: Schedule,
        survey: str = "SURVEY",
    ) -> None:
        self._s3 = s3
        self._bucket = image_bucket
        self._announcer = announcer
        self._write = write
        self._schedule = schedule
        self._survey = survey

    def take(self, raws: Sequence[SourceRaw], sal_index: int) -> list[UploadedRaw]:
        """Take one visit.

        Parameters
        ----------
        raws
            Raws of all snaps; not empty.
        sal_index
            Script queue announced with the visit.

        Returns
        -------
        uploaded
            Uploaded raws by snap, and within each in the order of ``raws``.

        Raises
        ------
        PublishError, SchemaRegistryError
            Raised if the announcement or a notice cannot be published.
        HeaderError, RawFileError
            Raised if a raw is unusable.
        """
        first = translate(read_header(raws[0].path), raws[0].raw_key.key)
        n_snaps = max(raw.snap for raw in raws) + 1
        exposures = new_exposures(self._s3, self._bucket, first.instrument, n_snaps, time.time())
        group = new_group(first.instrument, time.time(), exposures[0])
        announced = self._announce(first, group, sal_index, n_snaps)
        shutter = announced + self._schedule.slew
        uploaded: list[UploadedRaw] = []
        for number, exposure in enumerate(exposures):
            of_snap = [raw for raw in raws if raw.snap == number]
            opens = shutter + number * self._schedule.exposure
            snap = Snap(group, exposure, number, n_snaps, announced, opens, opens + self._schedule.exposure)
            uploaded += self._write(of_snap, snap)
            _log.info("Exposure %d of group %s uploaded: %d images", exposure, group, len(of_snap))
        return uploaded

    def _announce(self, first: Observation, group: str, sal_index: int, n_snaps: int) -> float:
        visit = make_next_visit(
            instrument=first.instrument,
            group=group,
            sal_index=sal_index,
            ra=first.ra,
            dec=first.dec,
            rotation=first.rotation,
            physical_filter=first.physical_filter,
            survey=self._survey,
            n_snaps=n_snaps,
            start=time.time() + self._schedule.slew,
            duration=self._schedule.duration(n_snaps),
        )
        self._announcer.publish(visit)
        _log.info("Group %s announced: %s, %d snaps", group, first.physical_filter, n_snaps)
        # Slew and exposure begin only now, once the announcement has been published.
        return time.time()
