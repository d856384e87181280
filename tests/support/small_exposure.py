"""A small exposure with all its parts."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS, Sip

from prompt_processing.images import Exposure, Mask, PhotoCalib, Psf, VisitInfo


def a_wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.crval = [53.0, -28.0]
    wcs.wcs.crpix = [50.0, 60.0]
    wcs.wcs.cd = np.array([[-5.6e-5, 1e-6], [1e-6, 5.6e-5]])
    a = np.zeros((3, 3))
    a[2, 0] = 1e-6
    wcs.sip = Sip(a, a.T.copy(), None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def an_exposure(shape: tuple[int, int] = (120, 100)) -> Exposure:
    rng = np.random.default_rng(1)
    image = rng.normal(1000, 30, shape).astype(np.float32)
    variance = np.full(shape, 900, np.float32) + rng.normal(0, 5, shape).astype(np.float32)
    image[3, 4] = np.nan
    mask = np.zeros(shape, np.int32)
    mask[3, 4] = Mask.BAD | Mask.NO_DATA
    psf = Psf(rng.random((3, 11, 11)).astype(np.float32), 1, 50.0, 60.0, 60.0)
    info = VisitInfo("LSSTCam", 2025060900578, 94, "r_57", "r", 60835.25, 30.0, 53.0, -28.0, 12.0)
    return Exposure(
        image, mask, variance, a_wcs(), psf, PhotoCalib(1.0, 0.001), info, {"SEEING": 0.8, "OBJECT": "f1"}
    )
