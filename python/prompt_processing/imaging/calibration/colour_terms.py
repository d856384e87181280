"""Predict the magnitude in a camera's filter from those of a catalogue.

A colour term is a formula such as ``r + 0.012 - 0.05 * (g - r)``: names are bands of the catalogue, in AB
magnitudes.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.images.photo_calib import NJY_ZERO_POINT

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_STEP = 1e-3


@dataclass(frozen=True, slots=True)
class ColourTerm:
    """Magnitude in a filter as a function of a catalogue's magnitudes.

    Attributes
    ----------
    formula
        Sums, products, quotients and powers of numbers and bands.
    """

    formula: str

    def __post_init__(self) -> None:
        if not self.bands:
            raise ValueError(f"The colour term {self.formula!r} names no band of the catalogue.")
        self.magnitude(dict.fromkeys(self.bands, np.zeros(1)))

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands in the formula, sorted."""
        return tuple(sorted({node.id for node in ast.walk(self._tree()) if isinstance(node, ast.Name)}))

    def magnitude(self, magnitudes: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the filter's magnitudes.

        Parameters
        ----------
        magnitudes : mapping of `~numpy.ndarray`, shape (n,)
            AB magnitudes by band.
        """
        with np.errstate(all="ignore"):
            return np.asarray(self._value(self._tree(), magnitudes), float)

    def apply(self, reference: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the filter's fluxes and their errors.

        Parameters
        ----------
        reference : `~astropy.table.Table`
            With ``<band>_flux``, and optionally ``<band>_fluxErr``, nJy.

        Returns
        -------
        flux, flux_err : `~numpy.ndarray`, shape (n,)
            nJy; NaN where a band is missing.

        Raises
        ------
        LookupError
            Raised if the catalogue lacks a band.
        """
        missing = [band for band in self.bands if f"{band}_flux" not in reference.colnames]
        if missing:
            raise LookupError(
                f"The colour term {self.formula!r} needs {', '.join(f'{band}_flux' for band in missing)}, "
                "which the reference catalogue does not have."
            )
        magnitudes, errors = {}, {}
        for band in self.bands:
            flux = np.ma.filled(np.ma.asarray(reference[f"{band}_flux"], dtype=float), np.nan)
            name = f"{band}_fluxErr"
            error = (
                np.ma.filled(np.ma.asarray(reference[name], dtype=float), np.nan)
                if name in reference.colnames
                else np.zeros_like(flux)
            )
            with np.errstate(all="ignore"):
                magnitudes[band] = np.where(flux > 0, NJY_ZERO_POINT - 2.5 * np.log10(flux), np.nan)
                errors[band] = 2.5 / np.log(10) * np.nan_to_num(error) / flux
        value = self.magnitude(magnitudes)
        variance = np.zeros_like(value)
        for band in self.bands:
            moved = self.magnitude({**magnitudes, band: magnitudes[band] + _STEP})
            variance += ((moved - value) / _STEP * errors[band]) ** 2
        flux = 10 ** (0.4 * (NJY_ZERO_POINT - value))
        return flux, flux * np.sqrt(variance) * np.log(10) / 2.5

    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.formula.strip(), mode="eval").body
        except SyntaxError as error:
            raise ValueError(f"The colour term {self.formula!r} is not a formula: {error.msg}.") from error

    def _value(self, node: ast.expr, magnitudes: Mapping[str, NDArray[np.float64]]) -> Any:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return float(number)
            case ast.Name(id=band):
                return magnitudes[band]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](self._value(left, magnitudes), self._value(right, magnitudes))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._value(operand, magnitudes)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._value(operand, magnitudes)
        raise ValueError(
            f"The colour term {self.formula!r} contains {ast.unparse(node)!r}; "
            "only bands, numbers and + - * / ** are allowed."
        )
