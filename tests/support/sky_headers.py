"""FITS headers with sky coordinates, and images of them."""

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from prompt_processing.difference.reading.read import open_image

SHAPE = (60, 80)
SCALE = 0.3 / 3600
CENTRE = (150.0, 2.2)


def tangential(angle=25.0, ctype=("RA---TAN", "DEC--TAN"), crval=CENTRE):
    """Return the keywords of a turned tangential projection."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    header = fits.Header()
    for i, (kind, value, pixel) in enumerate(zip(ctype, crval, (41.3, 28.6), strict=True), 1):
        header[f"CTYPE{i}"], header[f"CRVAL{i}"], header[f"CRPIX{i}"] = kind, value, pixel
    cd = SCALE * np.array([[-c, s], [s, c]])
    for i in (1, 2):
        for j in (1, 2):
            header[f"CD{i}_{j}"] = cd[i - 1, j - 1]
    return header


def pixels():
    y, x = np.mgrid[0 : SHAPE[0] - 1 : 5j, 0 : SHAPE[1] - 1 : 5j]
    return np.column_stack([x.ravel(), y.ravel()])


def opened(path, header, data=None, extensions=()):
    image = np.random.default_rng(3).normal(100, 5, SHAPE).astype(np.float32) if data is None else data
    fits.HDUList([fits.PrimaryHDU(image, header), *extensions]).writeto(path / "a.fits", overwrite=True)
    return open_image(path / "a.fits")


def assert_same_sky(wcs, expected, tolerance_mas=2.0):
    ra, dec = wcs.all_pix2world(pixels(), 0).T
    x, y = wcs.all_world2pix(ra, dec, 0, quiet=True)
    assert np.abs(np.column_stack([x, y]) - pixels()).max() < 0.02
    there = SkyCoord(ra, dec, unit="deg")
    assert there.separation(SkyCoord(*expected.T, unit="deg")).mas.max() < tolerance_mas


def true_sky(header=None):
    return np.asarray(WCS(tangential() if header is None else header).all_pix2world(pixels(), 0))


def without_cd(header):
    return np.array([[header.pop(f"CD{i}_{j}") for j in (1, 2)] for i in (1, 2)])


def distorted(strength=3e-5):
    header = tangential(ctype=("RA---TAN-SIP", "DEC--TAN-SIP"))
    header["A_ORDER"] = header["B_ORDER"] = 2
    header["A_2_0"], header["B_0_2"], header["A_1_1"] = strength, -strength, strength / 2
    return header
