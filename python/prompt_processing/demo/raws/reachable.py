"""Find the changes that a subtraction can show: on the template, and not lost in the light of a star."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from prompt_processing.domain.sky_vectors import unit_vectors
from prompt_processing.images import Exposure

__all__ = ["LEAST_CONTRAST", "on_images", "stand_out"]

LEAST_CONTRAST = 0.1
"""Least change in units of the constant light within the seeing.

The template's stars resemble those of the image to about 3 per cent of their light. The expected
signal-to-noise ratio has only the noise of photons and electronics.
"""
_MARGIN = 12
"""Pixels at the edge of an image in which nothing is measured."""


def on_images(truth: pd.DataFrame, images: Sequence[Exposure]) -> NDArray[np.bool_]:
    """Return which sources are on one of the images that a template is made of.

    Parameters
    ----------
    truth
        ``ra``, ``dec``, degrees.
    images
        Calibrated images.
    """
    there = np.zeros(len(truth), np.bool_)
    for image in images:
        if image.wcs is None:
            continue
        x, y = image.wcs.all_world2pix(truth["ra"].to_numpy(float), truth["dec"].to_numpy(float), 0)
        height, width = image.shape
        there |= (x > _MARGIN) & (y > _MARGIN) & (x < width - 1 - _MARGIN) & (y < height - 1 - _MARGIN)
    return there


def stand_out(truth: pd.DataFrame, fwhm_arcsec: float) -> NDArray[np.bool_]:
    """Return which changes are more than `LEAST_CONTRAST` of the constant light at their places.

    Parameters
    ----------
    truth
        ``ra``, ``dec`` (degrees), ``flux`` and ``delta_flux`` (nJy).
    fwhm_arcsec
        Seeing.
    """
    delta = truth["delta_flux"].to_numpy(float)
    constant = np.maximum(truth["flux"].to_numpy(float) - delta, 0)
    tree = cKDTree(unit_vectors(truth["ra"].to_numpy(float), truth["dec"].to_numpy(float)))
    chord = 2 * np.sin(np.radians(fwhm_arcsec / 3600) / 2)
    light = np.array([constant[near].sum() for near in tree.query_ball_point(tree.data, chord)])
    return np.asarray(np.abs(delta) > LEAST_CONTRAST * light)
