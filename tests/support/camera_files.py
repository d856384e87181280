"""Raw files of real cameras in miniature, written without the package's own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

DECAM_PRIMARY: dict[str, Any] = {
    "PROCTYPE": "RAW",
    "OBS-LONG": 70.81489,
    "TELESCOP": "CTIO 4.0-m telescope",
    "OBSERVAT": "CTIO",
    "OBS-LAT": -30.16606,
    "OBS-ELEV": 2215.0,
    "INSTRUME": "DECam",
    "EXPREQ": 90.0,
    "EXPTIME": 90.0,
    "DARKTIME": 91.1290202,
    "OBSID": "ct4m20230814t042000",
    "DATE-OBS": "2023-08-14T04:20:00.966998",
    "TIME-OBS": "04:20:00.966998",
    "MJD-OBS": 60170.18056675,
    "TIMESYS": "UTC",
    "EXPNUM": 1234567,
    "OBJECT": "field 17",
    "OBSTYPE": "object",
    "PROPID": "2023A-0001",
    "FILTER": "r DECam SDSS c0002 6415.0 1480.0",
    "TELRA": "21:22:42.907",
    "TELDEC": "-17:46:59.898",
    "TELFOCUS": "-2407.60,-1843.69,2387.06,28.26,-241.27,-0.00",
    "ZD": 25.59,
    "AZ": 99.51,
    "AIRMASS": 1.11,
    "DTUTC": "2023-08-14T04:21:46",
    "PIXSCAL1": 0.27,
}


def decam_image(ccd: int, name: str, data: NDArray[np.uint16], level: int = 2000) -> fits.ImageHDU:
    """Make the image of a CCD of 40 x 30 pixels, with prescans and overscans on its outer sides.

    The northern CCDs have the parallel overscan above the data, the southern ones below.
    """
    rows, columns = data.shape
    half = columns // 2
    image = np.full((rows + 8, columns + 2 * (10 + 6)), level, np.uint16)
    north = name.startswith("N")
    bottom = 0 if north else 8
    image[bottom : bottom + rows, 16 : 16 + columns] = data + level
    image[:, 6:16] += 3  # Another level of the left amplifier's overscan.
    first, last = bottom + 1, bottom + rows
    post = (rows + 1, rows + 8) if north else (1, 8)
    left, right = ("A", "B") if north else ("B", "A")
    cards: dict[str, Any] = {"CCDNUM": ccd, "DETPOS": name, "INHERIT": True, "RADESYS": "FK5"}
    for letter, start, over, target in (
        (left, 17, (7, 16), 1),
        (right, 17 + half, (17 + columns, 26 + columns), 1 + half),
    ):
        span = f"{start}:{start + half - 1}"
        cards[f"DATASEC{letter}"] = f"[{span},{first}:{last}]"
        cards[f"BIASSEC{letter}"] = f"[{over[0]}:{over[1]},{first}:{last}]"
        cards[f"POSTSEC{letter}"] = f"[{span},{post[0]}:{post[1]}]"
        cards[f"CCDSEC{letter}"] = f"[{target}:{target + half - 1},1:{rows}]"
        cards[f"GAIN{letter}"], cards[f"RDNOISE{letter}"] = 4.1, 6.5
    return fits.CompImageHDU(image, fits.Header(cards), name=name, compression_type="RICE_1")


def write_decam(
    path: Path, ccds: dict[int, str], seed: int = 1, **changes: Any
) -> dict[int, NDArray[np.uint16]]:
    """Write a multi-extension file of DECam with a focus CCD; return the light on each CCD."""
    rng = np.random.default_rng(seed)
    light = {ccd: rng.integers(0, 5000, (30, 40), np.uint16) for ccd in ccds}
    hdus = [fits.PrimaryHDU(header=fits.Header({**DECAM_PRIMARY, **changes}))]
    hdus += [decam_image(ccd, name, light[ccd]) for ccd, name in ccds.items()]
    focus = fits.CompImageHDU(np.zeros((20, 20), np.uint16), name="FS4", compression_type="RICE_1")
    focus.header["CCDNUM"] = 69
    fits.HDUList([*hdus, focus]).writeto(path)
    return light


MAXIM_HEADER: dict[str, Any] = {
    "DATE-OBS": "2024-08-10T13:20:07",
    "EXPTIME": 120.0,
    "EXPOSURE": 120.0,
    "SET-TEMP": -20.0,
    "CCD-TEMP": -19.9938,
    "XPIXSZ": 9.0,
    "YPIXSZ": 9.0,
    "XBINNING": 1,
    "YBINNING": 1,
    "XORGSUBF": 0,
    "YORGSUBF": 0,
    "FILTER": "r",
    "IMAGETYP": "Light Frame",
    "SITELAT": "-31 16 24",
    "SITELONG": "149 03 52",
    "FOCALLEN": 1800.0,
    "SWCREATE": "MaxIm DL Version 6.26 200706 2C4F5",
    "OBJECT": "NGC 6822",
    "TELESCOP": "0.36 m",
    "INSTRUME": "SBIG ST-8XME",
    "PIERSIDE": "EAST",
    "OBJCTRA": "19 44 57.7",
    "OBJCTDEC": "-14 48 11",
    "AIRMASS": 1.04162552350,
}

NINA_HEADER: dict[str, Any] = {
    "IMAGETYP": "LIGHT",
    "EXPOSURE": 30.0,
    "EXPTIME": 30.0,
    "DATE-LOC": "2024-08-10T23:20:07.4551234",
    "DATE-OBS": "2024-08-10T13:20:07.4551234",
    "XBINNING": 1,
    "YBINNING": 1,
    "GAIN": 120,
    "OFFSET": 30,
    "EGAIN": 1.00224268436432,
    "XPIXSZ": 4.63,
    "YPIXSZ": 4.63,
    "INSTRUME": "ZWO ASI294MM Pro",
    "SET-TEMP": -10.0,
    "SITEELEV": 1165.0,
    "SITELAT": -31.2733,
    "SITELONG": 149.0644,
    "FWHEEL": "ZWO Filter Wheel (1)",
    "FILTER": "Ha",
    "FOCALLEN": 800.0,
    "RA": 296.2404,
    "DEC": -14.8031,
    "OBJECT": "NGC 6822",
    "AIRMASS": 1.05,
    "ROTATANG": 91.5,
    "SWCREATE": "N.I.N.A. 3.1.2.9001 (x64)",
}


def write_single(path: Path, header: dict[str, Any], pixels: NDArray[Any], **changes: Any) -> Path:
    """Write a file of one HDU, unsigned 16 bit through BZERO, as MaxIm DL and N.I.N.A. do."""
    cards = {key: value for key, value in {**header, **changes}.items() if value is not None}
    fits.PrimaryHDU(np.asarray(pixels).astype(np.uint16), fits.Header(cards)).writeto(path)
    return path
