"""How far two images show the same part of the sky, from their headers."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS

from prompt_processing.images import Exposure, Mask

__all__ = ["common_data", "overlap", "share_a_grid"]


def share_a_grid(
    shape: tuple[int, int], template_shape: tuple[int, int], science: WCS, template: WCS
) -> bool:
    """Return whether the headers place both images on the same pixel grid."""
    if shape != template_shape:
        return False
    height, width = shape
    x, y = np.array([0.0, width - 1, 0, width - 1]), np.array([0.0, 0, height - 1, height - 1])
    try:
        back = template.all_world2pix(*science.all_pix2world(x, y, 0), 0)
    except (ValueError, RuntimeError):
        return False
    return bool(np.hypot(back[0] - x, back[1] - y).max() < 0.02)


def overlap(science: WCS, template: WCS, shape: tuple[int, int], template_shape: tuple[int, int]) -> float:
    """Return the fraction of the science image that the template covers, from the headers."""
    y, x = (a.ravel() for a in np.mgrid[0 : shape[0] - 1 : 24j, 0 : shape[1] - 1 : 24j])
    ra, dec = science.all_pix2world(x, y, 0)
    if template.sip is None:
        px, py = template.wcs_world2pix(ra, dec, 0)
    else:
        px, py = template.all_world2pix(ra, dec, 0, quiet=True)
    inside = (px > -0.5) & (px < template_shape[1] - 0.5) & (py > -0.5) & (py < template_shape[0] - 0.5)
    return float(np.mean(inside & np.isfinite(px) & np.isfinite(py)))


def common_data(science: Exposure, template: Exposure, first: WCS, second: WCS) -> bool:
    """Return whether any place has data in both images, as far as a grid of 100 x 100 places shows."""
    height, width = science.shape
    y, x = (np.unique(np.linspace(0, size - 1, 100).round().astype(int)) for size in (height, width))
    rows, columns = np.meshgrid(y, x, indexing="ij")
    here = ~science.has(Mask.NO_DATA)[rows, columns]
    px, py = second.all_world2pix(*first.all_pix2world(columns[here], rows[here], 0), 0, quiet=True)
    with np.errstate(invalid="ignore"):
        inside = (px > -0.5) & (px < template.shape[1] - 0.5) & (py > -0.5) & (py < template.shape[0] - 0.5)
    there = ~template.has(Mask.NO_DATA)
    return bool(there[np.rint(py[inside]).astype(int), np.rint(px[inside]).astype(int)].any())
