"""Butler formatter for raw images, in the files that the camera wrote."""

from __future__ import annotations

from lsst.daf.butler import FormatterV2

from prompt_processing.instruments.raw_frame import RawFrame, read_raw

RAW_ENDINGS = (
    *(".fits", ".fits.fz", ".fits.gz", ".fz"),
    *(".fit", ".fit.fz", ".fit.gz", ".fts", ".fts.fz", ".fts.gz"),
)
"""Ends of the names of raws."""


class RawFormatter(FormatterV2):
    """Read a `~prompt_processing.instruments.raw_frame.RawFrame`; raws are ingested, never written."""

    default_extension = ".fits"
    supported_extensions = frozenset(RAW_ENDINGS)
    can_read_from_local_file = True

    def read_from_local_file(
        self, path: str, component: str | None = None, expected_size: int = -1
    ) -> RawFrame:
        """Read the detector's part of the file, or the whole file if it has no other."""
        detector = self.data_id.get("detector")
        return read_raw(path, detector=None if detector is None else int(detector))
