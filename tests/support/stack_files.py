"""Write files in the layouts of the Rubin stack's ``afw``, without the stack."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

Table = Mapping[str, Any]


class ArchiveWriter:
    """Collects objects, and writes them as ``afw`` does: one table for each form, and an index."""

    def __init__(self) -> None:
        self._index: list[tuple[int, int, int, int, int, str, str]] = []
        self._tables: list[tuple[str, list[Table]]] = []
        self._count = 0

    def add(self, name: str, *tables: Sequence[Table], module: str = "lsst.afw") -> int:
        """Add an object of some tables, each a sequence of rows; return its number."""
        self._count += 1
        for place, rows in enumerate(tables):
            number = self._table(name, rows)
            first = len(self._tables[number][1])
            self._tables[number][1].extend(rows)
            self._index.append((self._count, number + 1, place, first, len(rows), name, module))
        return self._count

    def _table(self, name: str, rows: Sequence[Table]) -> int:
        columns = list(rows[0]) if rows else []
        for number, (_, known) in enumerate(self._tables):
            if known and list(known[0]) == columns:
                return number
        self._tables.append((name, []))
        return len(self._tables) - 1

    def hdus(self) -> list[fits.BinTableHDU]:
        """Return the index and the tables."""
        names = ("id", "cat.archive", "cat.persistable", "row0", "nrows", "name", "module")
        formats = ("1J", "1J", "1J", "1J", "1J", "64A", "64A")
        columns = [
            fits.Column(name, form, array=np.array([row[i] for row in self._index]))
            for i, (name, form) in enumerate(zip(names, formats, strict=True))
        ]
        index = fits.BinTableHDU.from_columns(columns)
        index.header["EXTTYPE"] = "ARCHIVE_INDEX"
        index.header["AR_CATN"] = 0
        found = [index]
        for number, (name, rows) in enumerate(self._tables, start=1):
            hdu = fits.BinTableHDU.from_columns([_column(key, [row[key] for row in rows]) for key in rows[0]])
            hdu.header["EXTTYPE"] = "ARCHIVE_DATA"
            hdu.header["AR_NAME"] = name
            hdu.header["AR_CATN"] = number
            found.append(hdu)
        return found


def _column(name: str, values: list[Any]) -> fits.Column:
    first = values[0]
    if name == "flags":
        bits = np.array(values, bool)
        return fits.Column(name, f"{bits.shape[1]}X", array=bits)
    if isinstance(first, str):
        # Text of any length is stored as an array of characters.
        array = np.empty(len(values), object)
        array[:] = [np.array(list(value), "S1") for value in values]
        return fits.Column(name, "QA()", array=array)
    if isinstance(first, bytes):
        array = np.empty(len(values), object)
        array[:] = [np.frombuffer(value, np.uint8) for value in values]
        return fits.Column(name, "QB()", array=array)
    if isinstance(first, np.ndarray):
        letter = {"f4": "E", "f8": "D", "i4": "J"}[first.dtype.str[1:]]
        array = np.empty(len(values), object)
        array[:] = values
        return fits.Column(name, f"Q{letter}()", array=array)
    if isinstance(first, bool):
        raise TypeError("Flags are one column.")
    return fits.Column(name, "1K" if isinstance(first, int) else "1D", array=np.array(values))


def ast_sky_wcs(crpix: Sequence[float], crval_deg: Sequence[float], cubic: float = 0.0) -> bytes:
    """Return a ``SkyWcs`` in AST's text form: a tangent plane, 0.2 arcsec a pixel, with radial distortion.

    Parameters
    ----------
    crpix
        Reference pixel; the lower left pixel of the stack's coordinates is (0, 0).
    crval_deg
        Its position, ICRS degrees.
    cubic
        Relative change of the scale at a distance of one pixel, over the distance squared.
    """
    from starlink import Ast

    plane = _read_wcs(
        [
            "CTYPE1  = 'RA---TAN'", "CTYPE2  = 'DEC--TAN'", "CRPIX1  = 1.0", "CRPIX2  = 1.0",
            f"CRVAL1  = {crval_deg[0]!r}", f"CRVAL2  = {crval_deg[1]!r}",
            f"CD1_1   = {-0.2 / 3600!r}", "CD1_2   = 0.0", "CD2_1   = 0.0", f"CD2_2   = {0.2 / 3600!r}",
        ]
    )  # fmt: skip
    shift = Ast.ShiftMap([-crpix[0] + 1, -crpix[1] + 1])
    distortion = Ast.PolyMap(
        [[1, 1, 1, 0], [cubic, 1, 3, 0], [cubic, 1, 1, 2], [1, 2, 0, 1], [cubic, 2, 0, 3], [cubic, 2, 2, 1]]
    ) if cubic else Ast.UnitMap(2)  # fmt: skip
    if cubic:
        # Around the reference pixel, which is at 1.
        there, back = Ast.ShiftMap([-1.0, -1.0]), Ast.ShiftMap([1.0, 1.0])
        distortion = Ast.CmpMap(Ast.CmpMap(there, distortion, True), back, True)
    frame_set = Ast.FrameSet(Ast.Frame(2, "Domain=PIXELS"))
    mapping = Ast.CmpMap(Ast.CmpMap(shift, distortion, True), plane.getmapping(), True)
    frame_set.addframe(Ast.BASE, mapping, plane.getframe(Ast.CURRENT))
    return b"1 SkyWcs 0  " + _text(frame_set)


def ast_of_wcs(wcs: WCS, origin: tuple[int, int] = (0, 0)) -> bytes:
    """Return a tangent plane as a ``SkyWcs`` in AST's text form.

    Parameters
    ----------
    wcs
        Pixels of an image to the sky, without distortion.
    origin
        The stack's coordinates of the image's lower left pixel.
    """
    from starlink import Ast

    matrix = wcs.pixel_scale_matrix
    plane = _read_wcs(
        [
            *(f"CTYPE{axis}  = '{kind}'" for axis, kind in ((1, "RA---TAN"), (2, "DEC--TAN"))),
            *(f"CRPIX{axis}  = {float(wcs.wcs.crpix[axis - 1])!r}" for axis in (1, 2)),
            *(f"CRVAL{axis}  = {float(wcs.wcs.crval[axis - 1])!r}" for axis in (1, 2)),
            *(f"CD{i}_{j}   = {float(matrix[i - 1, j - 1])!r}" for i in (1, 2) for j in (1, 2)),
        ]
    )
    frame_set = Ast.FrameSet(Ast.Frame(2, "Domain=PIXELS"))
    # FITS counts from 1, and from the image's own corner.
    shift = Ast.ShiftMap([1.0 - origin[0], 1.0 - origin[1]])
    mapping = Ast.CmpMap(shift, plane.getmapping(), True)
    frame_set.addframe(Ast.BASE, mapping, plane.getframe(Ast.CURRENT))
    return b"1 SkyWcs 0  " + _text(frame_set)


def _read_wcs(lines: Sequence[str]) -> Any:
    from starlink import Ast

    channel = Ast.FitsChan()
    for line in ("SIMPLE  = T", "NAXIS   = 2", "RADESYS = 'ICRS'", *lines):
        channel.putfits(line.ljust(80), False)
    channel.clear("Card")
    return channel.read()


def ast_transform(mapping: Any) -> bytes:
    """Return a transform of points in AST's text form."""
    return b"1 TransformPoint2ToPoint2 " + _text(mapping)


def _text(thing: Any) -> bytes:
    from starlink import Ast

    lines: list[str] = []

    class Sink:
        def astsink(self, line: str) -> None:
            lines.append(line)

    channel = Ast.Channel(None, Sink(), "Comment=0")
    channel.write(thing)
    return "\n".join(lines).encode()


def write_exposure(
    path: Path,
    planes: tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]],
    bits: Mapping[str, int],
    *,
    primary: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
    archive: ArchiveWriter | None = None,
    origin: tuple[int, int] = (0, 0),
    compressed: bool = False,
) -> None:
    """Write an exposure of image, mask and variance, and perhaps an archive."""
    hdus: list[Any] = [fits.PrimaryHDU()]
    for key, value in (primary or {}).items():
        # As the stack does for long keywords.
        hdus[0].header[key if len(key) <= 8 or key.startswith("HIERARCH") else f"HIERARCH {key}"] = value
    for name, plane in zip(("IMAGE", "MASK", "VARIANCE"), planes, strict=True):
        hdu = (
            fits.CompImageHDU(plane, compression_type="GZIP_2", quantize_level=0.0)
            if compressed
            else fits.ImageHDU(plane)
        )
        hdu.header["EXTTYPE"] = name
        hdu.header["EXTNAME"] = name
        hdu.header.update(header or {})
        for axis in (1, 2):
            hdu.header[f"CTYPE{axis}A"] = "LINEAR"
            hdu.header[f"CRPIX{axis}A"] = 1.0
            hdu.header[f"CRVAL{axis}A"] = origin[axis - 1]
        if name == "MASK":
            for plane_name, bit in bits.items():
                hdu.header[f"HIERARCH MP_{plane_name}"] = bit
        hdus.append(hdu)
    if archive is not None:
        hdus[0].header["AR_HDU"] = 5
        hdus += archive.hdus()
    fits.HDUList(hdus).writeto(path)


@contextmanager
def importable(*classes: str) -> Iterator[dict[str, type]]:
    """Provide empty classes by full names, as far as ``pickle`` needs them to write."""
    made: dict[str, type] = {}
    replaced: list[tuple[Any, str, Any]] = []
    before = dict(sys.modules)
    try:
        for full in classes:
            module, _, name = full.rpartition(".")
            parts = module.split(".")
            for i in range(1, len(parts) + 1):
                part = ".".join(parts[:i])
                if part not in sys.modules:
                    sys.modules[part] = types.ModuleType(part)
            made[name] = type(name, (), {"__module__": module})
            replaced.append((sys.modules[module], name, getattr(sys.modules[module], name, None)))
            setattr(sys.modules[module], name, made[name])
        yield made
    finally:
        # The module may be a real one that other tests use, such as galsim's.
        for module, name, original in replaced:
            if original is not None:
                setattr(module, name, original)
        for name in set(sys.modules) - set(before):
            del sys.modules[name]


def piff_pickle(coefficients: NDArray[np.float64], order: int, size: int) -> bytes:
    """Return the pickle of a PSF of Piff: a pixel grid (side, side, terms), polynomials in x and y.

    The terms are ordered by the power of x, then of y.
    """
    names = (
        "piff.simplepsf.SimplePSF", "piff.pixelgrid.PixelGrid", "piff.basis_interp.BasisPolynomial",
        "galsim.interpolant.Lanczos", "galsim.wcs.PixelScale",
    )  # fmt: skip
    with importable(*names) as classes:
        psf, model, interpolation, lanczos, scale = (classes[name.rpartition(".")[2]]() for name in names)
        lanczos._n = 11
        scale._scale = 1.0
        side = coefficients.shape[0]
        vars(model).update(scale=1.0, size=side, interp=lanczos)
        powers = np.add.outer(np.arange(order + 1), np.arange(order + 1)) <= order
        vars(interpolation).update(_keys=("u", "v"), _mask=powers, q=coefficients.reshape(side * side, -1))
        vars(psf).update(model=model, interp=interpolation, wcs={0: scale}, stars=[])
        return pickle.dumps((size, size, psf))


def sky_map_pickle(kind: str, config: str, version: int = 1) -> bytes:
    """Return the pickle of a sky map of the stack with a configuration in its text form."""
    from lsst.pex.config.config import unreduceConfig

    module = f"lsst.skymap.{kind[0].lower()}{kind[1:]}"
    with importable(f"{module}.{kind}", f"{module}.{kind}Config") as classes:

        class Config:
            def __reduce__(self) -> tuple[Any, ...]:
                return unreduceConfig, (classes[f"{kind}Config"], config.encode())

        class Map:
            def __reduce__(self) -> tuple[Any, ...]:
                return classes[kind], (Config(), version)

        return pickle.dumps(Map())
