"""Frames of a mosaic as DECam writes them, under other names, and their truth, without the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import NDArray

FILTER = "r Wideye c0102 6415.0 1480.0"
CCDS = {3: "S2", 7: "N2"}
"""Names of the detectors by CCDNUM."""
AMPLIFIERS = "AB"
GAINS = {3: {"A": 3.9, "B": 4.4}, 7: {"A": 4.1, "B": 3.6}}
READ_NOISES = {3: {"A": 6.5, "B": 7.4}, 7: {"A": 5.8, "B": 6.9}}
WIDTH, HEIGHT = 320, 300
_PRESCAN, _OVERSCAN, _POST = 6, 50, 50
_GAP = 20
_SCALE = 0.7
"""Arcsec per pixel: small detectors still see many stars."""
_ROTATION, _RA, _DEC = 90.0, 320.6, -17.9
_ZERO_POINT = 25.2
_SKY, _DARK = 11.0, 0.02
_SECONDS = 100.0
_FIELD_DEG = 0.13
_N_STARS = 1700
_N_CHANGES = 110
_EDGE, _APART = 25.0, 12.0
"""Least distances of changes from the edges and from each other, pixels."""

Image = NDArray[np.float64]


@dataclass(slots=True)
class Mosaic:
    """The observatory.

    Attributes
    ----------
    root
        Folder with ``calibration``, ``earlier``, ``tonight`` and ``stars.csv``.
    bias, response
        True images of each detector: ADU above the overscan, and relative.
    stars, changes
        ``ra``, ``dec`` (degrees) and ``mag`` of all stars, and of what is new tonight.
    """

    root: Path
    bias: dict[int, Image] = field(default_factory=dict)
    response: dict[int, Image] = field(default_factory=dict)
    stars: Table = field(default_factory=Table)
    changes: Table = field(default_factory=Table)


def write_mosaic(root: Path, n_earlier: int = 3) -> Mosaic:
    """Write biases, darks, flats, exposures of earlier nights, one of tonight, and a catalogue."""
    rng = np.random.default_rng(15)
    made = Mosaic(root)
    rows = np.mgrid[:HEIGHT, :WIDTH][0]
    for ccd in CCDS:
        made.bias[ccd] = 5 * np.exp(-rows / 40.0)
        made.response[ccd] = (1 - 0.1 * (rows / HEIGHT - 0.5) ** 2) * rng.normal(1, 0.008, (HEIGHT, WIDTH))
    offsets = rng.uniform(-_FIELD_DEG, _FIELD_DEG, (2, _N_STARS))
    magnitudes = 15 + 6 * rng.power(2.2, _N_STARS)
    ra, dec = _RA + offsets[0] / np.cos(np.radians(_DEC)), _DEC + offsets[1]
    made.stars = Table({"ra": ra, "dec": dec, "mag": magnitudes})
    made.changes = _changes(rng, made.stars)
    for name in ("calibration", "earlier", "tonight"):
        (root / name).mkdir(parents=True)
    catalogue = {"RAJ2000": np.round(ra, 7), "DEJ2000": np.round(dec, 7)}
    catalogue |= {"gmag": np.round(magnitudes + 0.6, 4), "rmag": np.round(magnitudes, 4)}
    Table({**catalogue, "e_rmag": np.full(_N_STARS, 0.01)}).write(root / "stars.csv")
    number, clock = 5_000_001, Time("2023-08-13T19:00:00", scale="utc")
    plan = [("zero", 0.0)] * 5 + [("dark", 60.0)] * 3
    plan += [("dome flat", seconds) for seconds in (2.0, 5.0, 9.0) for _ in range(2)]
    for kind, seconds in plan:
        light = 8000 * seconds if kind == "dome flat" else 0.0
        images = {ccd: np.full((HEIGHT, WIDTH), light) for ccd in CCDS}
        _write(made, "calibration", number, kind, clock, seconds, images, rng)
        number, clock = number + 1, clock + (seconds + 30) * u.s
    for night in range(n_earlier + 1):
        is_tonight = night == n_earlier
        begin = Time("2023-08-14T04:20:00", scale="utc") + (night * 3 * u.day + night * 100 * u.s)
        pointing = np.array([_RA, _DEC]) + rng.normal(0, 5 / 3600, 2)
        fwhm = 2.4 if is_tonight else 2.1 + 0.15 * night
        sources = [made.stars, made.changes] if is_tonight else [made.stars]
        images = {ccd: _sky(ccd, pointing, sources, fwhm) for ccd in CCDS}
        where = "tonight" if is_tonight else "earlier"
        _write(made, where, number + 1000 * night, "object", begin, _SECONDS, images, rng, pointing)
    return made


def on_detector(ccd: int, pointing: Sequence[float] | NDArray[np.float64]) -> WCS:
    """Return the WCS of a detector: +Y points east and +X south, as on DECam."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = pointing
    side = -1 if ccd == 3 else 1
    wcs.wcs.crpix = [(WIDTH + 1) / 2 - side * (WIDTH + _GAP) / 2, (HEIGHT + 1) / 2]
    angle = np.radians(_ROTATION)
    wcs.wcs.cd = (_SCALE / 3600) * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    wcs.wcs.set()
    return wcs


def _changes(rng: np.random.Generator, stars: Table) -> Table:
    """Place changes on both detectors, apart from each other and from bright stars."""
    rows: list[tuple[float, float, float]] = []
    for number in range(_N_CHANGES):
        ccd = list(CCDS)[number % 2]
        wcs = on_detector(ccd, [_RA, _DEC])
        bright = stars[stars["mag"] < 18.5]
        taken = np.array(
            [[row[0], row[1]] for row in rows] + list(zip(bright["ra"], bright["dec"], strict=True))
        )
        taken_x, taken_y = wcs.all_world2pix(taken, 0).T
        while True:
            x, y = rng.uniform(_EDGE, WIDTH - _EDGE), rng.uniform(_EDGE, HEIGHT - _EDGE)
            if np.hypot(taken_x - x, taken_y - y).min() > _APART:
                break
        ra, dec = wcs.all_pix2world([[x, y]], 0)[0]
        rows.append((float(ra), float(dec), 17.5 + 3.8 * number / _N_CHANGES))
    return Table(rows=rows, names=("ra", "dec", "mag"))


def _sky(ccd: int, pointing: NDArray[np.float64], sources: Sequence[Table], fwhm: float) -> Image:
    """Return the electrons of sky and sources, Moffat profiles."""
    image = np.full((HEIGHT, WIDTH), _SKY * _SECONDS)
    beta = 3.0
    alpha = fwhm / _SCALE / (2 * np.sqrt(2 ** (1 / beta) - 1))
    reach = int(6 * fwhm / _SCALE)
    for table in sources:
        places = on_detector(ccd, pointing).all_world2pix(np.column_stack([table["ra"], table["dec"]]), 0)
        for (x, y), magnitude in zip(places, table["mag"], strict=True):
            columns = np.arange(max(round(x) - reach, 0), min(round(x) + reach + 1, WIDTH))
            rows = np.arange(max(round(y) - reach, 0), min(round(y) + reach + 1, HEIGHT))
            if len(columns) and len(rows):
                squares = (columns - x) ** 2 + (rows[:, np.newaxis] - y) ** 2
                flux = _SECONDS * 10 ** (-0.4 * (magnitude - _ZERO_POINT))
                profile = (beta - 1) / (np.pi * alpha**2) * (1 + squares / alpha**2) ** -beta
                image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += flux * profile
    return image


def _write(
    made: Mosaic,
    where: str,
    number: int,
    kind: str,
    begin: Time,
    seconds: float,
    images: dict[int, Image],
    rng: np.random.Generator,
    pointing: NDArray[np.float64] | None = None,
) -> None:
    cards: dict[str, Any] = {
        "INSTRUME": "Wideye",
        "OBSTYPE": kind,
        "EXPTIME": seconds,
        "DARKTIME": seconds + 1,
    }
    cards |= {
        "DATE-OBS": begin.isot,
        "TIMESYS": "UTC",
        "EXPNUM": number,
        "FILTER": FILTER,
        "PIXSCAL1": _SCALE,
    }
    cards |= {
        "OBSID": f"we{begin.strftime('%Y%m%dt%H%M%S')}",
        "OBJECT": "field 9" if pointing is not None else kind,
    }
    cards |= {"OBS-LONG": 70.81489, "OBS-LAT": -30.16606, "OBS-ELEV": 2215.0, "PROPID": "2023A-1"}
    if pointing is not None:
        # The telescope is some arcsec off.
        place = SkyCoord(pointing[0] + 4 / 3600, pointing[1] - 5 / 3600, unit=u.deg)
        cards["TELRA"] = place.ra.to_string(u.hour, sep=":", precision=3, pad=True)
        cards["TELDEC"] = place.dec.to_string(sep=":", precision=3, alwayssign=True, pad=True)
    hdus: list[Any] = [fits.PrimaryHDU(header=fits.Header(cards))]
    for ccd, name in CCDS.items():
        electrons = rng.poisson(np.maximum(images[ccd], 0) * made.response[ccd] + _DARK * seconds)
        hdus.append(_hdu(ccd, name, electrons, made.bias[ccd], rng))
    # A focus CCD of another size, which the description must leave out.
    focus = fits.CompImageHDU(np.zeros((40, 40), np.uint16), name="FS4", compression_type="RICE_1")
    focus.header.update({"CCDNUM": 69, "DETPOS": "FS4"})
    fits.HDUList([*hdus, focus]).writeto(made.root / where / f"we_{number}.fits.fz")


def _hdu(
    ccd: int, name: str, electrons: NDArray[Any], bias: Image, rng: np.random.Generator
) -> fits.CompImageHDU:
    """Make an image with prescans outside, overscans beside them, and postscans above or below the data."""
    half, side = WIDTH // 2, _PRESCAN + _OVERSCAN
    image = np.zeros((HEIGHT + _POST, WIDTH + 2 * side))
    bottom = 0 if name.startswith("N") else _POST
    left, right = ("A", "B") if name.startswith("N") else ("B", "A")
    first, last = bottom + 1, bottom + HEIGHT
    post = (HEIGHT + 1, HEIGHT + _POST) if bottom == 0 else (1, _POST)
    cards: dict[str, Any] = {"CCDNUM": ccd, "DETPOS": name, "INHERIT": True}
    x0 = 1 if ccd == 3 else 1 + WIDTH + _GAP
    cards["DETSEC"] = f"[{x0}:{x0 + WIDTH - 1},1:{HEIGHT}]"
    for letter, start in ((left, side), (right, side + half)):
        gain, noise = GAINS[ccd][letter], READ_NOISES[ccd][letter]
        own = slice(0, start + half) if letter == left else slice(start, image.shape[1])
        level = 1900 + 150 * AMPLIFIERS.index(letter) + ccd
        image[:, own] = level + rng.normal(0, noise / gain, image[:, own].shape)
        part = slice(start - side, start - side + half)
        image[bottom : bottom + HEIGHT, start : start + half] += electrons[:, part] / gain + bias[:, part]
        over = (_PRESCAN + 1, side) if letter == left else (side + WIDTH + 1, side + WIDTH + _OVERSCAN)
        cards[f"DATASEC{letter}"] = f"[{start + 1}:{start + half},{first}:{last}]"
        cards[f"BIASSEC{letter}"] = f"[{over[0]}:{over[1]},{first}:{last}]"
        cards[f"POSTSEC{letter}"] = f"[{start + 1}:{start + half},{post[0]}:{post[1]}]"
        cards[f"CCDSEC{letter}"] = f"[{start - side + 1}:{start - side + half},1:{HEIGHT}]"
        # Nominal values, some per cent off.
        cards[f"GAIN{letter}"], cards[f"RDNOISE{letter}"] = round(1.03 * gain, 2), round(1.1 * noise, 1)
    pixels = np.clip(np.rint(image), 0, 65535).astype(np.uint16)
    return fits.CompImageHDU(pixels, fits.Header(cards), name=name, compression_type="RICE_1")
