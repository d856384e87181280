"""Detect and measure the sources of a difference image."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from astropy.table import Table

from prompt_processing.domain.ids import pack_ids
from prompt_processing.images import Exposure
from prompt_processing.imaging.difference.source_noise import with_photon_noise

from .dia_companions import with_companions
from .dia_detection import DetectionOptions, detect_dia_sources
from .dia_long_trails import join_long_trails
from .dia_measurement import measure_dia_sources
from .streaks import mask_streaks


def detect_and_measure(
    difference: Exposure, science: Exposure, matched: Exposure, options: DetectionOptions | None = None
) -> Table:
    """Detect and measure DiaSources.

    Parameters
    ----------
    difference : `Exposure`
        Its mask gets ``STREAK``, ``DETECTED`` and ``DETECTED_NEGATIVE``, in place.
    science, matched : `Exposure`
        Science image and matched template, for forced fluxes.
    options : `DetectionOptions`, optional
        Options of the detection.

    Returns
    -------
    sources : `~astropy.table.Table`
        Columns of `measure_dia_sources` and ``diaSourceId``; most significant first. ``meta["streaks"]`` is
        the list of masked streaks, each a `dict` of `~prompt_processing.imaging.measurement.streaks.Streak`.
    """
    streaks = mask_streaks(difference)
    options = options or DetectionOptions()
    peaks = with_companions(difference, detect_dia_sources(difference, options), options.threshold)
    # Two sources resemble a trail while they are one peak.
    peaks = join_long_trails(difference, peaks)
    table = measure_dia_sources(difference, science, matched, peaks)
    table["psfFluxErr"] = with_photon_noise(table["psfFluxErr"], table["x"], table["y"], difference, science)
    if difference.visit_info is None:
        ids = np.arange(1, len(table) + 1, dtype=np.int64)
    else:
        visit = difference.visit_info
        ids = pack_ids(visit.exposure, visit.detector, np.arange(1, len(table) + 1))
    table.add_column(ids, name="diaSourceId", index=0)
    table.meta["streaks"] = [asdict(streak) for streak in streaks]
    return table
