"""Pattern of the night sky's fringes, from many exposures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prompt_processing.imaging.isr.fringes import smooth_sky

from .combine import CombinedFrame, combine_frames


def combine_fringes(
    images: Sequence[NDArray[np.float32]], sources: Sequence[NDArray[np.bool_]]
) -> CombinedFrame:
    """Combine images of the sky into a fringe pattern, relative to the sky.

    Parameters
    ----------
    images : sequence of `~numpy.ndarray` of float32, shape (height, width)
        Images without instrument signature, of different fields.
    sources : sequence of `~numpy.ndarray` of bool, shape (height, width)
        Pixels of sources and artefacts in each.

    Returns
    -------
    combined : `CombinedFrame`
        Its image is the pattern: the sky relative to its local mean, less 1.
    """
    clean = []
    for image, covered in zip(images, sources, strict=True):
        smooth = smooth_sky(image, covered)
        clean.append(np.where(covered, np.float32(np.nan), image / smooth - 1).astype(np.float32))
    combined = combine_frames(clean)
    np.nan_to_num(combined.image, copy=False)
    return combined
