"""Lines about images, for a person at a terminal."""

from __future__ import annotations

from .context import IN_APDB
from .journal import FileState
from .service import Report, Totals

__all__ = ["line", "summary"]


def line(report: Report) -> str:
    """Return the line about an image: what it is, its quality, what changed, and how long it took."""
    entry, observation = report.entry, report.observation
    name = entry.path.name
    if observation is None or report.image is None:
        return f"{name}: {entry.state}. {entry.reason}"
    parts = [
        f"{name}: {observation.exposure_id} detector {observation.detector} {observation.physical_filter}"
    ]
    values = report.image.summary
    if "seeing_fwhm_arcsec" in values:
        parts.append(f'seeing {values["seeing_fwhm_arcsec"]:.2f}"')
    if "zero_point_mag" in values:
        parts.append(f"zero point {values['zero_point_mag']:.2f}")
    if "limiting_magnitude_5sigma" in values:
        parts.append(f"depth {values['limiting_magnitude_5sigma']:.2f}")
    counts = report.image.outcome.counts
    if "numDiaSources" in counts:
        parts.append(f"{int(counts['numDiaSources'])} changes")
    if "numAlertsSent" in counts:
        parts.append(f"{int(counts['numAlertsSent'])} alerts")
    parts.append(f"{report.seconds:.1f} s")
    margin = report.image.margin_arcsec
    if (offset := values.get("pointing_offset_arcsec", 0.0)) > margin:
        parts.append(
            f'{offset:.0f}" from where the header says: templates were loaded for {margin:.0f}" around it, '
            "correct the pointing or set PRELOAD_PADDING"
        )
    if entry.state is not FileState.DONE:
        parts.append(f"{entry.state}: {entry.reason}")
    elif IN_APDB in entry.reason:
        parts.append(entry.reason.removesuffix("."))
    return ", ".join(parts)


def summary(totals: Totals) -> str:
    """Return the summary of a night."""
    done = totals.by_state.get(FileState.DONE, 0)
    parts = [f"{done} images processed"]
    if done:
        parts.append(f"{totals.seconds / done:.1f} s each")
    parts.append(f"{totals.changes} changes")
    for state in (FileState.SKIPPED, FileState.SET_ASIDE):
        if number := totals.by_state.get(state, 0):
            parts.append(f"{number} {state}")
    return ", ".join(parts) + "."
