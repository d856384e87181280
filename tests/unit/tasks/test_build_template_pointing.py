"""Images far from where they were announced: the template names the pointing as the culprit."""

from __future__ import annotations

from typing import Any

import pytest
from astropy.wcs import WCS

from prompt_processing.images import Exposure
from prompt_processing.imaging.errors import NoTemplateOverlapError
from prompt_processing.tasks.build_template import BuildTemplateTask


class EmptySky:
    """A sky map none of whose patches was loaded."""

    def footprint_region(self, image: Exposure) -> None:
        return None


@pytest.mark.parametrize(("offset", "named"), [(12.0, False), (95.0, True)], ids=["near", "far"])
def test_a_template_that_misses_the_image_names_a_wrong_pointing(offset: float, named: bool) -> None:
    image = Exposure.blank((40, 50))
    image.wcs = WCS(naxis=2)
    image.wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    image.wcs.wcs.cdelt = [-1 / 3600, 1 / 3600]
    image.metadata["pointing_offset_arcsec"] = offset
    sky_map: Any = EmptySky()
    with pytest.raises(NoTemplateOverlapError) as raised:
        BuildTemplateTask().run(image, sky_map, [])
    said = str(raised.value)
    assert ("95 arcsec from where it was announced" in said and "PRELOAD_PADDING" in said) is named
