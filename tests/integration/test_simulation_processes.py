from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prompt_processing.images.fits import read_exposure
from prompt_processing.instruments import read_raw
from prompt_processing.simulation import build_night

pytestmark = pytest.mark.integration


def test_number_of_processes_does_not_matter(tmp_path: Path) -> None:
    alone, together = (
        build_night(
            tmp_path / str(workers),
            "LATISS",
            [0],
            n_visits=1,
            workers=workers,
            miniature=(30, 60),
            n_template=1,
        )
        for workers in (1, 2)
    )
    frames = read_raw(alone.raws[0]), read_raw(together.raws[0])
    for one, other in zip(frames[0].segments, frames[1].segments, strict=True):
        assert np.array_equal(one.data, other.data)
    assert len(alone.templates) == len(together.templates) > 0
    for template, same in zip(alone.templates, together.templates, strict=True):
        first, second = read_exposure(template.path), read_exposure(same.path)
        # The files' compression dithers.
        noise = float(np.sqrt(np.nanmedian(first.variance)))
        assert np.allclose(first.image, second.image, rtol=0, atol=0.3 * noise, equal_nan=True)
