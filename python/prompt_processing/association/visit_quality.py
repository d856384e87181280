"""Metrics of a visit-detector, and limits that stop absurd visits before alerts are sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prompt_processing.imaging.errors import AbsurdVisitError

Metrics = dict[str, float]

_FROM_SCIENCE = {
    "seeing": ("seeing_fwhm_arcsec", "arcsec"),
    "psfEllipticity": ("psf_ellipticity", ""),
    "zeroPoint": ("zero_point_mag", "mag"),
    "zeroPointScatter": ("zero_point_scatter_mag", "mag"),
    "limitingMagnitude": ("limiting_magnitude_5sigma", "mag"),
    "skyLevel": ("background_electrons", "electron"),
    "skyNoise": ("background_noise_electrons", "electron"),
    "astrometricRms": ("astrometric_rms_mas", "mas"),
    "pointingOffset": ("pointing_offset_arcsec", "arcsec"),
    "numSources": ("n_sources", ""),
    "numPsfStars": ("n_psf_stars", ""),
}
_FROM_DIFFERENCE = {
    "kernelCondition": ("kernelCondition", ""),
    "kernelChi2": ("kernelChi2", ""),
    "kernelSum": ("kernelSum", ""),
    "kernelStampsUsed": ("kernelStampsUsed", ""),
    "varianceScale": ("varianceScale", ""),
    "residualSky": ("residualSky", ""),
    "residualStars": ("residualStars", ""),
    "usableFraction": ("usableFraction", ""),
}
"""Metric: keyword of the image's metadata, unit."""

_RELIABLE = 0.5


@dataclass(frozen=True, slots=True)
class VisitLimits:
    """Limits beyond which a visit is absurd; 0 disables a limit.

    Attributes
    ----------
    maximum_seeing
        Seeing, arcsec.
    maximum_ellipticity
        Ellipticity of the PSF.
    maximum_zero_point_scatter
        Scatter of stars about the zero point, mag.
    maximum_astrometric_rms
        Rms of the astrometry, mas.
    maximum_residual
        Scatter of the difference at stars over its noise.
    minimum_usable_fraction
        Usable fraction of the difference's pixels.
    maximum_dia_sources
        Number of DiaSources on one detector.
    maximum_negative_share
        Share of DiaSources that are fainter than in the template: a failed subtraction leaves at least as
        many negative as positive sources. Applied to 100 sources or more.
    """

    maximum_seeing: float = 3.5
    maximum_ellipticity: float = 0.4
    maximum_zero_point_scatter: float = 0.2
    maximum_astrometric_rms: float = 250.0
    maximum_residual: float = 3.0
    minimum_usable_fraction: float = 0.02
    maximum_dia_sources: int = 20_000
    maximum_negative_share: float = 0.9


def visit_metrics(
    science: Mapping[str, Any], difference: Mapping[str, Any], dia_sources: pd.DataFrame
) -> Metrics:
    """Collect the metrics of a visit-detector.

    Parameters
    ----------
    science, difference
        Metadata of the calibrated image and of the difference.
    dia_sources : `~pandas.DataFrame`
        Standardised DiaSources.

    Returns
    -------
    metrics
        Known, finite metrics; units as in `metric_bundle`.
    """
    metrics: Metrics = {}
    for source, names in ((science, _FROM_SCIENCE), (difference, _FROM_DIFFERENCE)):
        # FITS files return keywords in capitals.
        lower = {key.lower(): value for key, value in source.items()}
        for name, (keyword, _) in names.items():
            value = lower.get(keyword.lower())
            if isinstance(value, int | float) and math.isfinite(value):
                metrics[name] = float(value)
    metrics["numDiaSources"] = float(len(dia_sources))
    for name, column in (("numDipoles", "isDipole"), ("numNegative", "isNegative")):
        if column in dia_sources:
            metrics[name] = float(np.count_nonzero(dia_sources[column].fillna(False).astype(bool)))
    if "reliability" in dia_sources:
        scores = dia_sources["reliability"].to_numpy(float)
        metrics["numReliable"] = float(np.count_nonzero(scores > _RELIABLE))
    if "trailLength" in dia_sources:
        metrics["numTrails"] = float(
            np.count_nonzero(np.isfinite(dia_sources["trailLength"].to_numpy(float)))
        )
    return metrics


def metric_bundle(metrics: Mapping[str, float]) -> dict[str, list[dict[str, float | str]]]:
    """Return metrics in the form of a ``MetricMeasurementBundle``: name, value and unit of each."""
    units = {name: unit for name, (_, unit) in (_FROM_SCIENCE | _FROM_DIFFERENCE).items()}
    return {
        "alertProduction": [
            {"metric": name, "value": value, "unit": units.get(name, "")} for name, value in metrics.items()
        ]
    }


def require_sane_visit(metrics: Mapping[str, float], limits: VisitLimits | None = None) -> None:
    """Stop a visit whose metrics neither the sky nor the camera can explain.

    Parameters
    ----------
    metrics
        Result of `visit_metrics`; unknown metrics are not checked.
    limits
        Limits to apply.

    Raises
    ------
    AbsurdVisitError
        Raised with all exceeded limits and their values, before any data leave the worker.
    """
    limits = limits or VisitLimits()
    above = {
        "seeing": limits.maximum_seeing,
        "psfEllipticity": limits.maximum_ellipticity,
        "zeroPointScatter": limits.maximum_zero_point_scatter,
        "astrometricRms": limits.maximum_astrometric_rms,
        "residualStars": limits.maximum_residual,
        "numDiaSources": limits.maximum_dia_sources,
    }
    found = {name: metrics[name] for name, most in above.items() if most and metrics.get(name, 0) > most}
    least = limits.minimum_usable_fraction
    if least and metrics.get("usableFraction", 1.0) < least:
        found["usableFraction"] = metrics["usableFraction"]
    count = metrics.get("numDiaSources", 0)
    negative = metrics.get("numNegative", 0) / max(count, 1)
    if limits.maximum_negative_share and count >= 100 and negative > limits.maximum_negative_share:
        found["negativeShare"] = negative
    if found:
        raise AbsurdVisitError(
            "The visit is absurd by the limits in the configuration of associateApdb; nothing was "
            "written to the APDB",
            **found,
        )
