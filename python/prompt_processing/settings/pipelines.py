"""Parse the YAML that selects the pipelines of visits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import astropy.units as u
import numpy as np
from astropy.coordinates import ICRS, BarycentricMeanEcliptic, Galactic, SkyCoord
from astropy.io import fits
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from prompt_processing.butler.pipelines.files import expand_path
from prompt_processing.domain.selection import DegreeRange, PipelineSelection, SelectionNode
from prompt_processing.domain.yaml_text import parse_yaml

if TYPE_CHECKING:
    from astropy_healpix import HEALPix

_UNKNOWN = 16
"""Value of an unclassified pixel in a binary map."""

_LARGEST_NSIDE = 8192
"""Largest NSIDE: 800 million pixels of half an arcminute."""

_FRAMES = {"C": ICRS(), "G": Galactic(), "E": BarycentricMeanEcliptic()}


def _nothing_if_none(value: Any) -> Any:
    # YAML's null is a word of its own, but users write Python's None.
    return [] if value is None or value == "None" else value


def _in_lower_case(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class _Range(BaseModel):
    model_config = ConfigDict(extra="forbid")

    min: FiniteFloat
    max: FiniteFloat


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid")

    pipelines: Annotated[list[str], BeforeValidator(_nothing_if_none)]
    survey: str | None = None
    ra: _Range | None = None
    dec: _Range | None = None
    binary_map: str | None = Field(default=None, alias="binary-map")
    coord_type: Annotated[Literal["detector", "boresight"], BeforeValidator(_in_lower_case)] = Field(
        default="detector", alias="coord-type"
    )

    def to_selection(self) -> SelectionNode:
        if self.dec is not None and self.dec.min > self.dec.max:
            raise ValueError(f"dec runs from {self.dec.min} to {self.dec.max}")
        return SelectionNode(
            pipelines=tuple(expand_path(path) for path in self.pipelines),
            survey=self.survey,
            ra=None if self.ra is None else DegreeRange(self.ra.min, self.ra.max, wraps=True),
            dec=None if self.dec is None else DegreeRange(self.dec.min, self.dec.max),
            membership=None if self.binary_map is None else BinaryMap.read(expand_path(self.binary_map)),
            coordinate_type=self.coord_type,
        )


class BinaryMap:
    """A HEALPix map with the values true, false and unknown.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (12 * nside**2,)
        Pixel values; 0 is false, 16 is unknown, all others are true.
    healpix : `astropy_healpix.HEALPix`
        The pixelisation and its frame.
    """

    def __init__(self, values: NDArray[Any], healpix: HEALPix) -> None:
        self._values = values
        self._healpix = healpix

    @classmethod
    def read(cls, path: str) -> Self:
        """Read a map from a FITS file in the HEALPix layout.

        Parameters
        ----------
        path : `str`
            Path or URI of the file.

        Returns
        -------
        map : `BinaryMap`
            The map.

        Raises
        ------
        ValueError
            Raised if the file cannot be read or is not a complete HEALPix map.
        """
        # Imported late: few configurations have a map.
        from astropy_healpix import HEALPix
        from lsst.resources import ResourcePath

        try:
            with ResourcePath(path, forceDirectory=False).as_local() as local:
                hdus = fits.open(local.ospath, memmap=False)
            with hdus:
                table = next(hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU))
                header, rows = table.header, table.data
            explicit = str(header.get("INDXSCHM", "IMPLICIT")).strip() == "EXPLICIT"
            values = np.asarray(rows.field(1 if explicit else 0)).ravel()
            nside = int(header["NSIDE"])
            if not 0 < nside <= _LARGEST_NSIDE:
                raise ValueError(f"NSIDE is {nside}")
            if explicit:
                full = np.full(12 * nside**2, _UNKNOWN, values.dtype)
                full[np.asarray(rows.field(0)).ravel()] = values
                values = full
            if values.size != 12 * nside**2:
                raise ValueError(f"{values.size} pixels do not make a map of NSIDE {nside}")
            frame = _FRAMES[str(header.get("COORDSYS", "C")).strip()[:1]]
            order = "nested" if str(header["ORDERING"]).strip().upper().startswith("NEST") else "ring"
            return cls(values, HEALPix(nside=nside, order=order, frame=frame))
        except (OSError, StopIteration, LookupError, ValueError, TypeError, fits.VerifyError) as error:
            raise ValueError(f"the binary map {path} cannot be read: {error!r}") from error

    def __call__(self, ra: float, dec: float) -> bool | None:
        """Return the value of the map at a position.

        Parameters
        ----------
        ra, dec : `float`
            ICRS, degrees.

        Returns
        -------
        value : `bool` or `None`
            `None` if it is unknown.
        """
        position = SkyCoord(ra * u.deg, dec * u.deg, frame="icrs")
        value = float(self._values[int(self._healpix.skycoord_to_healpix(position))])
        # HEALPix marks pixels without a value with a huge negative number.
        if not np.isfinite(value) or value == _UNKNOWN or value < -1e30:
            return None
        return value != 0


def parse_selection(text: str) -> PipelineSelection:
    """Parse a list of nodes.

    Parameters
    ----------
    text : `str`
        The YAML text.

    Returns
    -------
    selection : `~prompt_processing.domain.selection.PipelineSelection`
        The nodes. An empty list, or ``None``, runs nothing for any visit.

    Raises
    ------
    ValueError
        Raised if the text is not a list of nodes; the message names all errors.
    """
    content = _nothing_if_none(parse_yaml(text))
    if content == []:
        return PipelineSelection((SelectionNode(pipelines=()),))
    try:
        nodes = TypeAdapter(list[_Node]).validate_python(content)
    except ValidationError as error:
        raise ValueError(
            "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        ) from error
    return PipelineSelection(tuple(node.to_selection() for node in nodes))
