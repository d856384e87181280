"""Frames of cameras that no description knows, with headers as many programs and observatories write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

GAIN, READ_NOISE, LEVEL = 1.5, 6.0, 500
SECONDS = 30.0
WIDTH, HEIGHT = 160, 120
"""Size of the assembled image."""
FLAT = 30_000.0
"""Electrons in a flat."""
KINDS = ("bias", "bias", "dark", "flat", "flat", "science", "science")
_ELECTRONS = {"bias": 0.0, "dark": 50.0, "flat": FLAT, "science": 800.0}

Cards = Mapping[str, Any]


@dataclass(frozen=True)
class Expected:
    """What a draft must find.

    Attributes
    ----------
    band, filter
        Of the filter in the headers.
    amplifiers, detectors
        Their numbers; amplifiers of one detector.
    has_exact_time
        Whether the begin is as exact as a text, not a rounded day number.
    """

    band: str
    filter: str
    amplifiers: int = 1
    detectors: int = 1
    has_exact_time: bool = True


def light(shape: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.float64]:
    """Return relative brightness, different in all four corners."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return 0.8 + 0.3 * x / shape[1] + 0.1 * y / shape[0]


def adu(kind: str, number: int, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.float64]:
    """Return pixels of a frame."""
    rng = np.random.default_rng([number, len(kind), *shape])
    electrons = rng.poisson(_ELECTRONS[kind] * light(shape)) + rng.normal(0, READ_NOISE, shape)
    return electrons / GAIN + LEVEL


def _unsigned(pixels: NDArray[Any]) -> NDArray[np.uint16]:
    return np.clip(np.rint(pixels), 0, 65535).astype(np.uint16)


def utc(number: int) -> str:
    """Return the begin of a frame."""
    return f"2024-10-05T02:{10 + number:02d}:07.25"


def _overscan(shape: tuple[int, int], number: int) -> NDArray[np.float64]:
    return np.random.default_rng([number, 99]).normal(LEVEL, READ_NOISE / GAIN, shape)


def _write(path: Path, cards: Cards, pixels: NDArray[Any]) -> None:
    fits.PrimaryHDU(pixels, _header(cards)).writeto(path)


def _header(cards: Cards) -> fits.Header:
    header = fits.Header()
    for key, value in cards.items():
        header[key if len(key) <= 8 else f"HIERARCH {key}"] = value
    return header


PLACE = {"OBJCTRA": "21 34 12.20", "OBJCTDEC": "-00 14 49.5"}
"""Right ascension 323.550833, declination -0.247083."""
DEGREES = {"RA": 323.550833, "DEC": -0.247083}

_Writer = Callable[[Path, str, int], None]
CAMERAS: dict[str, tuple[Expected, _Writer]] = {}


def _camera(expected: Expected) -> Callable[[_Writer], _Writer]:
    def enter(writer: _Writer) -> _Writer:
        CAMERAS[writer.__name__] = expected, writer
        return writer

    return enter


def write_frames(name: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """Write two biases, a dark, two flats and two science frames; yield each with its kind."""
    folder.mkdir(parents=True)
    for number, kind in enumerate(KINDS):
        path = folder / f"{number}.fits"
        CAMERAS[name][1](path, kind, number)
        yield path, kind


@_camera(Expected("r", "Sloan r"))
def ekos(path: Path, kind: str, number: int) -> None:
    """INDI: the kind is FRAME, the gain a setting."""
    names = {"bias": "Bias", "dark": "Dark", "flat": "Flat", "science": "Light"}
    cards = {
        "INSTRUME": "QHY CCD QHY600M-1234",
        "FRAME": names[kind],
        "EXPTIME": SECONDS,
        "FILTER": "Sloan r",
    }
    cards |= {"PIXSIZE1": 3.76, "XBINNING": 1, "FOCALLEN": 620.0, "GAIN": 26.0, "DATE-OBS": utc(number)}
    _write(path, {**cards, **PLACE, **DEGREES, "PIERSIDE": "WEST"}, _unsigned(adu(kind, number)))


@_camera(Expected("V", "G"))
def sharpcap(path: Path, kind: str, number: int) -> None:
    """SharpCap: green filter, fractions of a second with seven digits."""
    names = {"bias": "Bias", "dark": "Dark", "flat": "Flat", "science": "Light"}
    cards = {
        "INSTRUME": "ZWO ASI6200MM Pro",
        "FRAMETYP": names[kind],
        "EXPTIME": SECONDS,
        "EXPOSURE": SECONDS,
    }
    cards |= {"GAIN": 100, "DATE-OBS": utc(number) + "00000", "FILTER": "G", "XPIXSZ": 3.76}
    _write(path, {**cards, **DEGREES}, _unsigned(adu(kind, number)))


@_camera(Expected("R", "Red"))
def nina(path: Path, kind: str, number: int) -> None:
    """N.I.N.A.: calibration frames without a position."""
    names = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT", "science": "LIGHT"}
    cards = {"INSTRUME": "QHY600M", "IMAGETYP": names[kind], "EXPOSURE": SECONDS, "EXPTIME": SECONDS}
    cards |= {"DATE-LOC": "2024-10-04T19:10:07.25", "DATE-OBS": utc(number), "FILTER": "Red", "EGAIN": 1.5}
    place = {**PLACE, **DEGREES} if kind == "science" else {}
    _write(path, {**cards, **place}, _unsigned(adu(kind, number)))


@_camera(Expected("R", "BB#Rc/162_ESO844"))
def eso(path: Path, kind: str, number: int) -> None:
    """ESO: hierarchical keywords, and numbers of columns instead of sections."""
    names = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT,SKY", "science": "OBJECT"}
    cards = {"INSTRUME": "WFI", "DATE-OBS": utc(number), "EXPTIME": SECONDS, "MJD-OBS": 60588.0903617}
    cards |= {"ESO DPR TYPE": names[kind], "ESO DPR CATG": "SCIENCE" if kind == "science" else "CALIB"}
    cards |= {"ESO INS FILT1 NAME": "BB#Rc/162_ESO844", "ESO DET OUT1 CONAD": 1.5, "ESO DET OUT1 RON": 6.0}
    cards |= {"ESO DET OUT1 PRSCX": 16, "ESO DET OUT1 OVSCX": 20, "ESO TEL GEOLON": -70.73}
    cards |= {"ESO TEL GEOLAT": -29.25, "ESO TEL GEOELEV": 2335.0}
    edges = _overscan((HEIGHT, 16), number), _overscan((HEIGHT, 20), number)
    pixels = np.hstack([edges[0], adu(kind, number), edges[1]])
    _write(path, {**cards, **DEGREES}, _unsigned(pixels))


@_camera(Expected("r", "rp", amplifiers=4))
def las_cumbres(path: Path, kind: str, number: int) -> None:
    """LCO: compressed, a quadrant in each HDU, the header before them, no position in calibration frames."""
    names = {"bias": "BIAS", "dark": "DARK", "flat": "SKYFLAT", "science": "EXPOSE"}
    cards = {"INSTRUME": "fa03", "OBSTYPE": names[kind], "DATE-OBS": utc(number), "TIMESYS": "UTC"}
    cards |= {"EXPTIME": SECONDS, "FILTER": "rp", "FILTER1": "air", "FILTER2": "rp", "CCDSUM": "1 1"}
    cards |= {"RA": "21:34:12.20", "DEC": "-00:14:49.5"} if kind == "science" else {"RA": "N/A", "DEC": "N/A"}
    cards |= {"AIRMASS": 1.2 if kind == "science" else "UNKNOWN", "FRAMENUM": number + 1}
    whole = adu(kind, number)
    hdus: list[Any] = [fits.PrimaryHDU(header=_header(cards))]
    for columns, rows in (("1:80", "1:60"), ("160:81", "1:60"), ("160:81", "120:61"), ("1:80", "120:61")):
        flip_x, flip_y = columns.startswith("160"), rows.startswith("120")
        data = whole[60:] if flip_y else whole[:60]
        data = data[:, 80:] if flip_x else data[:, :80]
        data = data[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
        image = fits.CompImageHDU(_unsigned(np.hstack([data, _overscan((60, 10), number)])), name="SCI")
        image.header.update({"DETSEC": f"[{columns},{rows}]", "DATASEC": "[1:80,1:60]"})
        image.header.update({"BIASSEC": "[82:90,1:60]", "GAIN": 1.5, "RDNOISE": 6.0, "SATURATE": 64000.0})
        hdus.append(image)
    fits.HDUList(hdus).writeto(path)


@_camera(Expected("R", "dia R", amplifiers=2))
def arcon(path: Path, kind: str, number: int) -> None:
    """CTIO: two amplifiers in one image, sections with numbers of two digits, date and time apart."""
    names = {"bias": "zero", "dark": "dark", "flat": "Dome Flat", "science": "object"}
    cards = {"DETECTOR": "Tek2K_3", "OBSERVAT": "CTIO", "IMAGETYP": names[kind], "EXPTIME": SECONDS}
    cards |= {"DATE-OBS": "2024-10-05", "UT": utc(number)[11:], "RA": "21:34:12.20", "DEC": "-00:14:49.5"}
    cards |= {"EQUINOX": 2000.0, "FILTERS": "dia R", "ASEC11": "[1:80,1:120]", "ASEC12": "[81:160,1:120]"}
    cards |= {"DSEC11": "[1:80,1:120]", "BSEC11": "[161:170,1:120]", "GTGAIN11": 1.5, "GTRON11": 6.0}
    cards |= {"DSEC12": "[81:160,1:120]", "BSEC12": "[171:180,1:120]", "GTGAIN12": 1.5, "GTRON12": 6.0}
    _write(path, cards, _unsigned(np.hstack([adu(kind, number), _overscan((HEIGHT, 20), number)])))


@_camera(Expected("r", "Sloan r'", amplifiers=2))
def university(path: Path, kind: str, number: int) -> None:
    """FLI: local time with UTC beside it, prescans and overscans apart from two amplifiers, `.fit`-like."""
    names = {"bias": "Bias Frame", "dark": "Dark Frame", "flat": "Flat Field", "science": "Light Frame"}
    local = utc(number).replace("2024-10-05T02", "2024-10-04T19")
    cards = {"INSTRUME": "FLI ProLine PL230", "IMAGETYP": names[kind], "EXPOSURE": SECONDS}
    cards |= {"DATE-OBS": local, "TIMESYS": "LOCAL", "DATE-UTC": utc(number), "FILTER": "Sloan r'"}
    cards |= {"PRESEC1": "[1:12,1:120]", "DATASEC1": "[13:92,1:120]", "BIASSEC1": "[173:180,1:120]"}
    cards |= {"PRESEC2": "[189:200,1:120]", "DATASEC2": "[93:172,1:120]", "BIASSEC2": "[181:188,1:120]"}
    cards |= {"GAIN1": 1.5, "GAIN2": 1.5, "RDNOISE1": 6.0, "RDNOISE2": 6.0}
    edges = _overscan((HEIGHT, 12), number), _overscan((HEIGHT, 28), number)
    pixels = np.hstack([edges[0], adu(kind, number), edges[1]])
    _write(path, {**cards, **PLACE}, _unsigned(pixels))


@_camera(Expected("V", "V", amplifiers=1))
def local_clock(path: Path, kind: str, number: int) -> None:
    """MaxIm DL on a computer that shows local time: the Julian date tells UTC."""
    names = {"bias": "Bias Frame", "dark": "Dark Frame", "flat": "Flat Field", "science": "Light Frame"}
    cards = {"INSTRUME": "Apogee U16M", "IMAGETYP": names[kind], "EXPTIME": SECONDS, "EXPOSURE": SECONDS}
    cards |= {"DATE-OBS": utc(number).replace("2024-10-05T02", "2024-10-04T19"), "FILTER": "V"}
    cards |= {"JD": 2460588.590361690 + number / 1440}
    _write(path, {**cards, **PLACE}, _unsigned(adu(kind, number)))


@_camera(Expected("r", "r band", has_exact_time=False))
def milliseconds(path: Path, kind: str, number: int) -> None:
    """Andor: floating point, milliseconds, hours and a modified Julian day."""
    names = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT", "science": "SCIENCE"}
    cards = {"CAMERA": "Andor iKon-L", "OBSTYPE": names[kind], "EXPTIME": (1e3 * SECONDS, "[ms] exposure")}
    cards |= {"MJD": 60588.0903617 + number / 1440, "RA": (21.5700556, "[h] right ascension")}
    _write(path, {**cards, "DEC": -0.247083, "FILT": "r band", "GAIN": 1.5}, adu(kind, number).astype("f4"))


@_camera(Expected("i", "SDSS i2", has_exact_time=False))
def julian(path: Path, kind: str, number: int) -> None:
    """A Julian date, an exposure in milliseconds by the keyword's name, uncommon keywords."""
    names = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT", "science": "OBJ"}
    cards = {"INSTRUME": "NITES", "IMGTYPE": names[kind], "EXP_MS": int(1e3 * SECONDS)}
    cards |= {"JD-OBS": 2460588.5903617 + number / 1440, "TEL-RA": "21h34m12.2s", "TEL-DEC": "-00d14m49.5s"}
    _write(path, {**cards, "FILTERNA": "SDSS i2"}, _unsigned(adu(kind, number)))


@_camera(Expected("V", "V"))
def day_first(path: Path, kind: str, number: int) -> None:
    """Dates before 1999's standard, and numbers as texts."""
    cards = {"INSTRUME": "OldCam", "IMAGETYP": kind.upper(), "EXPTIME": "30.0", "DATE-OBS": "05/10/24"}
    cards |= {"TIME-OBS": utc(number)[11:], "RA": "323.550833", "DEC": "-0.247083", "FILTER": "V"}
    _write(path, cards, _unsigned(adu(kind, number)))


@_camera(Expected("V", "V"))
def cube_of_one(path: Path, kind: str, number: int) -> None:
    """A third axis of length 1, slashes in the date, a keyword for the kind that no other camera has."""
    cards = {"INSTRUME": "Andor", "WHATISIT": kind.upper(), "EXPOSURE": SECONDS, "FRAME": utc(number)}
    cards |= {"DATE-OBS": utc(number).replace("-", "/").replace("T", " "), "FILTER": "V"}
    _write(path, {**cards, **DEGREES}, np.rint(adu(kind, number)).astype(np.int32)[None])


@_camera(Expected("r", "r SDSS k1018", amplifiers=2, detectors=4))
def mosaic(path: Path, kind: str, number: int) -> None:
    """NOAO Mosaic: eight amplifiers of four detectors, which CCDNAME tells apart."""
    names = {"bias": "zero", "dark": "dark", "flat": "dome flat", "science": "object"}
    cards = {"INSTRUME": "BigMosaic", "OBSTYPE": names[kind], "EXPTIME": SECONDS, "DATE-OBS": utc(number)}
    cards |= {"TIMESYS": "UTC", "RA": "21:34:12.2", "DEC": "-00:14:49.5", "FILTER": "r SDSS k1018"}
    hdus: list[Any] = [fits.PrimaryHDU(header=_header(cards))]
    for amplifier in range(8):
        ccd, half = divmod(amplifier, 2)
        data = adu(kind, number)[:, 80 * half : 80 * half + 80]
        image = fits.ImageHDU(_unsigned(np.hstack([data, _overscan((HEIGHT, 12), number)])))
        left = 1 + 80 * half
        image.header.update({"EXTNAME": f"im{amplifier + 1}", "IMAGEID": amplifier + 1, "GAIN": 1.5})
        image.header.update({"CCDNAME": f"SITe #{ccd}, 43", "DATASEC": "[1:80,1:120]", "RDNOISE": 6.0})
        image.header.update({"BIASSEC": "[81:92,1:120]", "CCDSEC": f"[{left}:{left + 79},1:120]"})
        image.header["DETSEC"] = f"[{left + 160 * ccd}:{left + 79 + 160 * ccd},1:120]"
        hdus.append(image)
    fits.HDUList(hdus).writeto(path)


@_camera(Expected("r", "r", detectors=4))
def named_chips(path: Path, kind: str, number: int) -> None:
    """A detector in each HDU, distinguished by EXTNAME only, behind a table."""
    cards = {"INSTRUME": "FourShooter", "OBSTYPE": kind, "EXPTIME": SECONDS, "DATE-OBS": utc(number)}
    cards |= {"RA": "21:34:12.2", "DEC": "-00:14:49.5", "FILTER": "r"}
    table = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=np.arange(3.0))], name="TELEMETRY")
    hdus: list[Any] = [fits.PrimaryHDU(header=_header(cards)), table]
    for name in "ABCD":
        pixels = np.hstack([adu(kind, number), _overscan((HEIGHT, 12), number)])
        image = fits.ImageHDU(_unsigned(pixels), name=f"CCD_{name}")
        image.header.update({"DATASEC": "[1:160,1:120]", "BIASSEC": "[161:172,1:120]", "GAIN": 1.5})
        hdus.append(image)
    fits.HDUList(hdus).writeto(path)


@_camera(Expected("r", "ZTF r-band", amplifiers=4))
def quadrants(path: Path, kind: str, number: int) -> None:
    """ZTF: quadrants named by numbers, and their overscans in images of their own."""
    cards = {"INSTRUME": "ZTF/MOSAIC", "IMGTYPE": {"science": "object"}.get(kind, kind), "EXPTIME": SECONDS}
    cards |= {"UTC-OBS": utc(number), "TELRA": "21:34:12.2", "TELDEC": "-00:14:49.5", "FILTER": "ZTF r-band"}
    whole = adu(kind, number)
    hdus: list[Any] = [fits.PrimaryHDU(header=_header({**cards, "TELESCOP": "P48", "CCD_ID": 6}))]
    for quadrant in range(4):
        row, column = divmod(quadrant, 2)
        data = whole[60 * row : 60 * row + 60, 80 * column : 80 * column + 80]
        image = fits.ImageHDU(_unsigned(data), name=str(quadrant + 1))
        x, y = 1 + 80 * column, 1 + 60 * row
        image.header.update({"AMP_ID": quadrant, "GAIN": 1.5, "DETSEC": f"[{x}:{x + 79},{y}:{y + 59}]"})
        hdus.append(image)
    hdus += [fits.ImageHDU(_unsigned(_overscan((60, 10), number)), name=f"BIAS{one + 1}") for one in range(4)]
    fits.HDUList(hdus).writeto(path)


@_camera(Expected("r", "r_Gunn", amplifiers=2))
def outputs(path: Path, kind: str, number: int) -> None:
    """ESO: two outputs in one image, read from its left and right edges; the time of the end only."""
    names = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT,LAMP", "science": "OBJECT"}
    cards = {"INSTRUME": "FOCS", "ESO DPR TYPE": names[kind], "EXPTIME": SECONDS, "ESO DET OUTPUTS": 2}
    cards |= {"DATE-END": utc(number).replace(":07.25", ":37.25"), "ESO INS FILT1 NAME": "free"}
    cards |= {"ESO INS FILT2 NAME": "r_Gunn"}
    for output, corner in ((1, 1), (2, WIDTH)):
        cards |= {f"ESO DET OUT{output} X": corner, f"ESO DET OUT{output} Y": 1}
        cards |= {f"ESO DET OUT{output} NX": WIDTH // 2, f"ESO DET OUT{output} NY": HEIGHT}
        cards |= {f"ESO DET OUT{output} PRSCX": 12, f"ESO DET OUT{output} OVSCX": 20}
        cards |= {f"ESO DET OUT{output} CONAD": 1.5, f"ESO DET OUT{output} RON": 6.0}
    before, behind = _overscan((HEIGHT, 12), number), _overscan((HEIGHT, 20), number)
    whole = adu(kind, number)
    parts = [before, whole[:, : WIDTH // 2], behind, behind, whole[:, WIDTH // 2 :], before]
    _write(path, {**cards, **DEGREES}, _unsigned(np.hstack(parts)))


@_camera(Expected("r", "r", detectors=2))
def serial_numbers(path: Path, kind: str, number: int) -> None:
    """Two detectors with the same sections and names, which their serial numbers tell apart."""
    cards = {"INSTRUME": "TwinCam", "OBSTYPE": kind, "EXPTIME": SECONDS, "DATE-OBS": utc(number)}
    cards |= {"RA": "21:34:12.2", "DEC": "-00:14:49.5", "FILTER": "r"}
    hdus: list[Any] = [fits.PrimaryHDU(header=_header(cards))]
    for ccd in range(2):
        pixels = np.hstack([_overscan((HEIGHT, 20), number), adu(kind, number)])
        image = fits.ImageHDU(_unsigned(pixels), name="IMAGE")
        image.header.update({"CCDSEC": "[1:160,1:120]", "DATASEC": "[21:180,1:120]", "GAIN": 1.5})
        image.header.update({"BIASSEC": "[1:20,1:120]", "CCDSERNO": f"ITL-{3802 + ccd}"})
        hdus.append(image)
    fits.HDUList(hdus).writeto(path)


@_camera(Expected("r", "sdss r'"))
def backyard(path: Path, kind: str, number: int) -> None:
    """A clock with its zone, the kind in OBJECT, overscan above the data, a unit in the exposure time."""
    names = {"bias": "Bias", "dark": "DARK 30s", "flat": "dusk flat", "science": "AT2024abc"}
    local = utc(number).replace("2024-10-05T02", "2024-10-04T19") + "-07:00"
    cards = {"TELESCOP": "Backyard C11", "DATE-OBS": local, "EXPOSURE": "30.0 s", "OBJECT": names[kind]}
    cards |= {"AFILTER": "Open 2", "BFILTER": "sdss r'", "BIASSEC": "[1:160,121:136]"}
    cards |= {"MNT-RA": "21 34 12.20", "MNT-DEC": "-00 14 49.5"}
    _write(path, cards, _unsigned(np.vstack([adu(kind, number), _overscan((16, WIDTH), number)])))


@_camera(Expected("r", "r"))
def unix_time(path: Path, kind: str, number: int) -> None:
    """A program of someone's own: seconds since 1970, a filter in the second of two wheels."""
    cards = {"CAMERA": "RaspCam", "FRAMETYP": kind, "EXP_MS": int(1e3 * SECONDS)}
    cards |= {"UNIXTIME": 1728094207.25 + 60 * number, "FILTA": "clear", "FILTB": "r"}
    _write(path, {**cards, **DEGREES}, _unsigned(adu(kind, number)))


@_camera(Expected("B", "Johnson B"))
def contradictory(path: Path, kind: str, number: int) -> None:
    """DATASEC includes the overscan, TRIMSEC does not; hours of UT as a number."""
    hour, minute, second = utc(number)[11:].split(":")
    cards = {"INSTRUME": "SITe", "IMAGETYP": kind, "EXPTIME": SECONDS, "DATE-OBS": "2024-10-05"}
    cards |= {"UT": int(hour) + int(minute) / 60 + float(second) / 3600, "FILTER": "Johnson B"}
    cards |= {"DATASEC": "[1:190,1:120]", "TRIMSEC": "[1:160,1:120]", "BIASSEC": "[165:190,1:120]"}
    pixels = np.hstack([adu(kind, number), _overscan((HEIGHT, 30), number)])
    _write(path, {**cards, **DEGREES}, _unsigned(pixels))
