"""The sky coordinates of an image, in ICRS whatever the file uses, or the reason for their absence."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.images.tan_sip import gnomonic, sky_of_gnomonic, tan_sip_wcs

from .files import quiet_astropy
from .header import is_wcs_keyword, number
from .iraf_wcs import plane_to_native
from .wcs_cards import UnusableWcsError, axis_type, flat_wcs_cards, mend_numbers

Sky = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Map from pixels (n, 2), the first at (0, 0), to ICRS degrees (n, 2)."""

LARGEST_ERROR_PIXELS = 0.05
"""Required accuracy of the inverse of a map to the sky, and of its form as TAN-SIP."""

_DSS = re.compile(r"AMD[XY]\d+|PPO\d|[XY]PIXELSZ|CNPIX\d|PLT.*|OBJCT[XY]|PLATE.*|PLTSCALE")
_KNOWN_SYSTEMS = re.compile(r"$|ICR|GCRS|GAIA|FK4|FK5|J2000|B1950")
_SKY_TYPES = ("RA", "DEC", "GLON", "GLAT", "ELON", "ELAT", "SLON", "SLAT")


_ANGLES = {"deg": 1.0, "arcmin": 60.0, "arcsec": 3600.0, "mas": 3.6e6, "rad": np.pi / 180}
"""Units of angle that FITS knows, in a degree."""
_WCSLIB_PLACE = re.compile(r"ERROR \d+ in \w+\(\) at line \d+ of file \S+:")


@dataclass(frozen=True, slots=True, eq=False)
class SkyCoordinates:
    """An image's sky coordinates according to its header.

    Attributes
    ----------
    wcs : `~astropy.wcs.WCS` or `None`
        TAN or TAN-SIP, right ascension first, ICRS (FK5 of 2000 counts as such: they differ by 0.03
        arcsec); `None` without a usable WCS.
    problem : `str` or `None`
        Why the header's WCS is unusable; `None` if it is usable or absent.
    rewritten : `bool`
        Whether other programs need ``wcs`` in place of the header's own, which depends on tables in the
        file or on IRAF's projections.
    guess : `str` or `None`
        Assumption that was necessary.
    """

    wcs: WCS | None
    problem: str | None = None
    rewritten: bool = False
    guess: str | None = None


def read_sky(
    header: fits.Header, shape: tuple[int, int], axes: tuple[int, int], hdus: fits.HDUList
) -> SkyCoordinates:
    """Read the WCS of an image.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header of the image, merged with the primary one.
    shape : `tuple` [`int`, `int`]
        Height and width, pixels.
    axes : `tuple` [`int`, `int`]
        FITS axes (from 1) of width and height.
    hdus : `~astropy.io.fits.HDUList`
        The open file, with the distortion tables.
    """
    cards = flat_wcs_cards(header, axes)
    types = [axis_type(cards, axis) for axis in (1, 2)]
    if not any(kind in _SKY_TYPES for kind in types):
        scale = number(cards.get("CD1_1"))
        if not any(types) and {"CRVAL1", "CRVAL2"} <= cards.keys() and scale is not None and abs(scale) < 1:
            return SkyCoordinates(None, "CTYPE1 and CTYPE2 are missing")
        if not types[0] and all(f"AMDX{i}" in header for i in (1, 2, 3)):
            cards |= {k: header[k] for k in header if _DSS.fullmatch(k)}
        else:
            return SkyCoordinates(None)
    try:
        with warnings.catch_warnings(), quiet_astropy(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = _usable(cards, shape, hdus)
    except UnusableWcsError as error:
        return SkyCoordinates(None, str(error))
    system = str(cards.get("RADESYS", cards.get("RADECSYS", ""))).strip().upper()
    if _KNOWN_SYSTEMS.match(system) or not {"RA", "DEC"} & set(types):
        return found
    return replace(found, guess=f"its RADESYS = {system!r} is unknown, ICRS is assumed")


def _usable(cards: dict[str, Any], shape: tuple[int, int], hdus: fits.HDUList) -> SkyCoordinates:
    plate = "AMDX1" in cards
    if not plate:
        mend_numbers(cards)
        _check_linear_part(cards, shape)
    projection = str(cards.get("CTYPE1", "")).strip().upper()[-3:]
    iraf = projection in ("TNX", "ZPX")
    sky, wcs = _iraf_sky(cards) if iraf else _wcslib_sky(cards, hdus)
    tables = wcs is not None and any((wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2))
    grid = _grid(shape, 11)
    if not np.isfinite(sky(grid)).all():
        raise UnusableWcsError("parts of the image lie off the sky by it")
    plain = wcs is not None and wcs.wcs.lng == 0 and projection in ("TAN", "SIP") and not tables
    if wcs is not None and plain and _is_icrs(cards) and not any(key.startswith("PV") for key in cards):
        wcs.pixel_shape = (shape[1], shape[0])
        if _inverse_error(wcs, sky, grid) < LARGEST_ERROR_PIXELS:
            return SkyCoordinates(wcs)
    try:
        return SkyCoordinates(_as_tan_sip(sky, shape), None, iraf or tables or plate)
    except UnusableWcsError:
        # Distortions of high order over a wide field; wcslib inverts some of them itself.
        if wcs is None or wcs.wcs.lng != 0 or tables or not _is_icrs(cards):
            raise
        if wcs.sip is not None or not _inverse_error(wcs, sky, grid) < LARGEST_ERROR_PIXELS:
            raise
        wcs.pixel_shape = (shape[1], shape[0])
        return SkyCoordinates(wcs)


def _check_linear_part(cards: dict[str, Any], shape: tuple[int, int]) -> None:
    """Refuse a WCS whose reference point or scale is missing or absurd, which wcslib fills with defaults."""
    types = {axis_type(cards, axis) for axis in (1, 2)}
    if types not in ({"RA", "DEC"}, {"GLON", "GLAT"}, {"ELON", "ELAT"}, {"SLON", "SLAT"}):
        first, second = (cards.get(f"CTYPE{axis}", "") for axis in (1, 2))
        raise UnusableWcsError(
            f"CTYPE1 = {first!r} and CTYPE2 = {second!r} are not a pair of sky coordinates"
        )
    for keyword in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"):
        if keyword not in cards:
            raise UnusableWcsError(f"{keyword} is missing")
    for axis in (1, 2):
        name = str(cards.get(f"CUNIT{axis}", "deg")).strip() or "deg"
        if name.lower() not in _ANGLES:
            raise UnusableWcsError(f"CUNIT{axis} = {name!r} is not a unit of angle that FITS knows")
        degrees = cards[f"CRVAL{axis}"] / _ANGLES[name.lower()]
        if axis_type(cards, axis) not in ("RA", "GLON", "ELON", "SLON") and abs(degrees) > 90.0001:
            raise UnusableWcsError(f"CRVAL{axis} = {cards[f'CRVAL{axis}']:.8g} is not a latitude")
    for axis in (1, 2):
        if "-" not in str(cards[f"CTYPE{axis}"]):
            raise UnusableWcsError(f"CTYPE{axis} = {cards[f'CTYPE{axis}']!r} does not name a projection")
    matrix = [[cards.get(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)]
    if any(key.startswith("CD") and key[2].isdigit() for key in cards):
        for key in [k for k in cards if re.fullmatch(r"CDELT\d|CROTA\d|PC\d_\d", k)]:
            del cards[key]
    elif any(key.startswith("PC") for key in cards) or {"CDELT1", "CDELT2"} <= cards.keys():
        for key in [k for k in cards if k.startswith("CROTA") and any(p.startswith("PC") for p in cards)]:
            del cards[key]
        pc = [[cards.get(f"PC{i}_{j}", float(i == j)) for j in (1, 2)] for i in (1, 2)]
        matrix = [[cards.get(f"CDELT{i + 1}", 1.0) * pc[i][j] for j in (0, 1)] for i in (0, 1)]
    else:
        raise UnusableWcsError("it has no scale: both the CD and the CDELT keywords are missing")
    scale = np.sqrt(abs(np.linalg.det(matrix)))
    unit = _ANGLES[str(cards.get("CUNIT1", "deg")).strip().lower() or "deg"]
    if not scale > 0 or not np.linalg.cond(matrix) < 1e6:
        raise UnusableWcsError("its scale is zero: the CD or CDELT keywords are singular")
    if scale / unit * max(shape) > 170:
        raise UnusableWcsError(
            f"a pixel of {scale / unit:.3g} degrees makes the image wider than half the sky"
        )


def _is_icrs(cards: dict[str, Any]) -> bool:
    if axis_type(cards, 1) not in ("RA", "DEC"):
        return False
    system = str(cards.get("RADESYS", cards.get("RADECSYS", ""))).upper()
    equinox = cards.get("EQUINOX", cards.get("EPOCH"))
    if system.startswith(("ICR", "GCRS", "GAIA")):
        return True
    return not system.startswith(("FK4", "B1950")) and (equinox is None or equinox == 2000.0)


def _wcslib_sky(cards: dict[str, Any], hdus: fits.HDUList) -> tuple[Sky, WCS]:
    header = fits.Header()
    distorted = "A_ORDER" in cards and "B_ORDER" in cards
    for key, value in cards.items():
        if key in ("CTYPE1", "CTYPE2"):
            # Some programs omit the suffix, or keep it without coefficients.
            plain = str(value).upper().removesuffix("-SIP")
            header[key] = f"{plain}-SIP" if distorted and plain.endswith("-TAN") else plain
        elif "." in key:
            record, _, field = key.partition(".")
            header.append(fits.Card(record, f"{field}: {value}"))
        else:
            header[key] = value
    if distorted:
        # Other programs' inverse may be inaccurate or missing; ours comes from the forward polynomials.
        for key in [k for k in header if re.fullmatch(r"(AP|BP)_.*", k)]:
            del header[key]
    elif any(re.fullmatch(r"[AB]_ORDER", key) for key in cards):
        raise UnusableWcsError("its SIP distortion lacks A_ORDER or B_ORDER")
    try:
        wcs = WCS(header, fobj=hdus, naxis=2)
        wcs.wcs.set()
    except (ValueError, KeyError, TypeError, AttributeError, MemoryError, IndexError) as error:
        raise UnusableWcsError(f"wcslib refuses it: {_wcslib_reason(error)}") from error
    if not wcs.has_celestial:
        raise UnusableWcsError(f"CTYPE1 = {cards.get('CTYPE1')!r} is not a known projection")
    convert = _to_icrs(cards)

    def sky(points: NDArray[np.float64]) -> NDArray[np.float64]:
        world = np.asarray(wcs.all_pix2world(points, 0), float)
        return convert(world[:, [wcs.wcs.lng, wcs.wcs.lat]])

    return sky, wcs


def _wcslib_reason(error: Exception) -> str:
    """Return the last of wcslib's messages, without its places in the source code."""
    messages = _WCSLIB_PLACE.split(" ".join(str(error).split()))
    return messages[-1].strip(" .")


def _to_icrs(cards: dict[str, Any]) -> Sky:
    """Return the conversion from the header's frame to ICRS, degrees."""
    if _is_icrs(cards):
        return lambda world: world
    # Imported here because the import takes as long as reading a small image.
    from astropy.coordinates import FK4, FK5, ICRS, BarycentricMeanEcliptic, Galactic, SkyCoord, Supergalactic

    equinox = cards.get("EQUINOX", cards.get("EPOCH"))
    kind = {axis_type(cards, axis) for axis in (1, 2)}
    fk4 = str(cards.get("RADESYS", cards.get("RADECSYS", ""))).upper().startswith(("FK4", "B1950"))
    if "GLON" in kind:
        frame = Galactic()
    elif "SLON" in kind:
        frame = Supergalactic()
    elif "ELON" in kind:
        frame = BarycentricMeanEcliptic(equinox=f"J{equinox or 2000.0}")
    elif fk4 or (equinox is not None and equinox < 1984):
        frame = FK4(equinox=f"B{equinox or 1950.0}")
    else:
        frame = FK5(equinox=f"J{equinox or 2000.0}")

    def convert(world: NDArray[np.float64]) -> NDArray[np.float64]:
        usable = np.isfinite(world).all(axis=1)
        out = np.full_like(world, np.nan)
        if usable.any():
            there = SkyCoord(world[usable, 0], world[usable, 1], unit="deg", frame=frame).transform_to(ICRS())
            out[usable] = np.column_stack([there.ra.deg, there.dec.deg])
        return out

    return convert


def _iraf_sky(cards: dict[str, Any]) -> tuple[Sky, None]:
    header = fits.Header({k: v for k, v in cards.items() if not k.startswith("WAT")})
    for key, value in cards.items():
        if key.startswith("WAT"):
            header[key] = value
    longitude = 1 if axis_type(cards, 1) in ("RA", "GLON", "ELON", "SLON") else 2
    order = [longitude - 1, 2 - longitude]
    try:
        plane = plane_to_native(header, longitude)
    except ValueError as error:
        raise UnusableWcsError(
            f"its {str(cards['CTYPE1'])[-3:]} distortion cannot be used: {error}"
        ) from error
    if any(key.startswith("CD") and key[2].isdigit() for key in cards):
        matrix = np.array([[cards.get(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)])
    else:
        matrix = np.diag([cards["CDELT1"], cards["CDELT2"]])
    crpix = np.array([cards["CRPIX1"], cards["CRPIX2"]])
    crval = np.array([cards["CRVAL1"], cards["CRVAL2"]])[order]
    convert = _to_icrs(cards)

    def sky(points: NDArray[np.float64]) -> NDArray[np.float64]:
        xi, eta = ((points + 1 - crpix) @ matrix.T)[:, order].T
        return convert(sky_of_gnomonic(np.column_stack(plane(xi, eta)) * 3600, crval))

    return sky, None


def _grid(shape: tuple[int, int], steps: int) -> NDArray[np.float64]:
    x, y = np.meshgrid(np.linspace(-0.5, shape[1] - 0.5, steps), np.linspace(-0.5, shape[0] - 0.5, steps))
    return np.column_stack([x.ravel(), y.ravel()])


def _inverse_error(wcs: WCS, sky: Sky, grid: NDArray[np.float64]) -> float:
    """Return the largest error, pixels, of a round trip through the sky."""
    back = np.asarray(wcs.all_world2pix(sky(grid), 0, quiet=True))
    distance = np.hypot(*(back - grid).T)
    return float(np.where(np.isfinite(distance), distance, np.inf).max())


def _as_tan_sip(sky: Sky, shape: tuple[int, int]) -> WCS:
    grid = _grid(shape, 14)
    centre = sky(np.array([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]]))[0]
    if not np.isfinite(gnomonic(sky(grid), centre)).all():
        raise UnusableWcsError("the image is wider than a tangential projection can be")
    try:
        wcs = tan_sip_wcs(sky, shape, order=3, tolerance_mas=0.01)
        error = _inverse_error(wcs, sky, grid)
    except (np.linalg.LinAlgError, ValueError) as error_:
        raise UnusableWcsError(f"its distortion cannot be inverted ({error_})") from error_
    if not error < LARGEST_ERROR_PIXELS:
        raise UnusableWcsError(f"its distortion cannot be inverted within the image ({error:.2g} pixels off)")
    wcs.pixel_shape = (shape[1], shape[0])
    return wcs


def flat_header(header: fits.Header, axes: tuple[int, int], sky: SkyCoordinates) -> fits.Header:
    """Return a header whose WCS is that of a two-dimensional image.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header of the image.
    axes : `tuple` [`int`, `int`]
        FITS axes (from 1) of width and height.
    sky : `SkyCoordinates`
        Its ``wcs`` replaces a header's WCS that other programs cannot read.
    """
    others = any(re.fullmatch(r"C(TYPE|RVAL|RPIX|DELT|UNIT)[3-9]|WCSAXES", key) for key in header)
    if not sky.rewritten and axes == (1, 2) and not others:
        return header
    flat = header.copy()
    for keyword in {key for key in header if is_wcs_keyword(key)}:
        flat.remove(keyword, ignore_missing=True, remove_all=True)
    if sky.rewritten and sky.wcs is not None:
        flat.update(sky.wcs.to_header(relax=True))
    else:
        for keyword, value in flat_wcs_cards(header, axes).items():
            flat[keyword] = value
    return flat
