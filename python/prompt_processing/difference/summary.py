"""The values of a subtraction's report."""

from __future__ import annotations

from pathlib import Path

from prompt_processing.imaging.difference.residuals import Residuals

from .prepare import PreparedImage
from .register import Registration

__all__ = ["summarize"]


def summarize(
    science: PreparedImage,
    template: PreparedImage,
    registration: Registration,
    metrics: dict[str, float | int | bool],
    residuals: Residuals,
) -> dict[str, float | int | str | bool]:
    """Return the values of the report, by name, before they have the file's unit and pixels."""
    out: dict[str, float | int | str | bool] = {}
    for name, image in (("science", science), ("template", template)):
        out |= {
            f"{name}File": Path(image.name).name,
            f"{name}Fwhm": image.fwhm,
            f"{name}Sky": image.sky,
            f"{name}Noise": image.noise,
            f"{name}PsfStars": image.psf_stars,
            f"{name}CosmicRayPixels": image.cosmic_rays,
        }
        if image.gain is not None:
            out[f"{name}Gain"] = image.gain
            out[f"{name}GainEstimated"] = image.gain_estimated
    return out | {
        "commonStars": registration.common_stars,
        "offsetPixels": registration.offset,
        "alignmentRmsPixels": registration.rms,
        "fluxRatio": registration.flux_ratio,
        "fluxVariation": 0.0 if registration.surface is None else registration.surface.variation,
        "resampled": registration.warped,
        "coverage": registration.coverage,
        **metrics,
        "residualSky": residuals.sky,
        "residualStars": residuals.stars,
        "residualBrightStars": residuals.bright_stars,
    }
