"""WCS of a file, with all digits of the numbers in memory."""

from __future__ import annotations

import math
from typing import Any

import astropy.units
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from lsst.images import Box, DetectorFrame, GeneralFrame, SkyProjection
from lsst.images.fits import add_offset_wcs, strip_wcs_cards

__all__ = ["exact_cards", "sky_projection", "write_cards"]

Cards = list[tuple[str, Any]]


def exact_cards(wcs: WCS) -> Cards:
    """Return the keywords of a WCS.

    `astropy.wcs.WCS.to_header` rounds to twelve digits: a thousandth of a milliarcsecond.
    """
    inner = wcs.wcs
    is_simple = (
        inner.naxis == 2
        and not inner.get_pv()
        and not inner.get_ps()
        and wcs.cpdis1 is None
        and wcs.cpdis2 is None
        and wcs.det2im1 is None
        and wcs.det2im2 is None
        and (wcs.sip is None or np.allclose(wcs.sip.crpix, inner.crpix))
    )
    if not is_simple:
        ignored = ("COMMENT", "HISTORY", "DATE-OBS", "MJD-OBS", "MJDREF", "")
        return [(c.keyword, c.value) for c in wcs.to_header(relax=True).cards if c.keyword not in ignored]
    cards: Cards = [("WCSAXES", 2), ("RADESYS", inner.radesys or "ICRS")]
    matrix = wcs.pixel_scale_matrix
    for axis in (1, 2):
        cards += [
            (f"CTYPE{axis}", inner.ctype[axis - 1]),
            (f"CUNIT{axis}", str(inner.cunit[axis - 1]) or "deg"),
            (f"CRVAL{axis}", float(inner.crval[axis - 1])),
            (f"CRPIX{axis}", float(inner.crpix[axis - 1])),
            (f"CD{axis}_1", float(matrix[axis - 1, 0])),
            (f"CD{axis}_2", float(matrix[axis - 1, 1])),
        ]
    if math.isfinite(inner.lonpole) and inner.lonpole != 180.0:
        cards += [("LONPOLE", float(inner.lonpole))]
    if wcs.sip is not None:
        # Without the inverse polynomials, which are approximations: readers invert the forward ones.
        for letter, polynomial in (("A", wcs.sip.a), ("B", wcs.sip.b)):
            cards.append((f"{letter}_ORDER", len(polynomial) - 1))
            cards += [
                (f"{letter}_{i}_{j}", float(value))
                for (i, j), value in np.ndenumerate(polynomial)
                if value != 0.0
            ]
    return cards


def write_cards(header: fits.Header, wcs: WCS | None) -> None:
    """Replace the WCS in a header, or remove it; the first pixel of the array is (0, 0)."""
    strip_wcs_cards(header)
    if wcs is not None:
        header.update(exact_cards(wcs))
    add_offset_wcs(header, x=0, y=0)


def sky_projection(wcs: WCS, frame: DetectorFrame | GeneralFrame) -> SkyProjection[Any]:
    """Return the projection of ``lsst.images``.

    Parameters
    ----------
    wcs
        WCS in ICRS.
    frame
        The pixels.
    """
    return SkyProjection.from_fits_wcs(_ExactWcs(wcs), frame)


def pixel_frame(instrument: str, detector: int, visit: int | None, bbox: Box) -> DetectorFrame:
    """Return the frame of a detector's pixels."""
    return DetectorFrame(instrument=instrument, detector=detector, visit=visit, bbox=bbox)


def plain_frame() -> GeneralFrame:
    """Return the frame of an image that is not a detector's."""
    return GeneralFrame(unit=astropy.units.pix)


class _ExactWcs:
    """What ``lsst.images`` asks of a WCS, with all digits."""

    def __init__(self, wcs: WCS) -> None:
        self._cards = exact_cards(wcs)

    def to_header_string(self, relax: bool = True) -> str:
        return "".join(str(card) for card in fits.Header(self._cards).cards)
