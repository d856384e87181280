"""PSF models of Piff, as the stack stores them, without Piff itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..psf import lanczos_weights
from .archive import Stored, bytes_of
from .errors import StackFileError
from .pickles import Record, read_pickle

__all__ = ["PiffModel"]


class PiffModel:
    """A pixel grid whose values are polynomials of the position.

    That is the model that the stack fits (Jarvis et al. 2021, MNRAS 501, 1282): ``PixelGrid`` with
    ``BasisPolynomial``.

    Parameters
    ----------
    stored
        A ``PiffPsf`` of an archive.

    Raises
    ------
    StackFileError
        Raised if it is another model.
    """

    def __init__(self, stored: Stored) -> None:
        what = f"PiffPsf {stored.id}"
        content = read_pickle(bytes_of(stored.row()["bytes"]), ("piff", "galsim", "lsst"), what)
        try:
            self.size, _, psf = content
            model, interpolation = psf.state["model"], psf.state["interp"]
            if (psf.class_name, model.class_name, interpolation.class_name) != (
                "SimplePSF",
                "PixelGrid",
                "BasisPolynomial",
            ):
                raise StackFileError(
                    f"{what} is a {psf.class_name} of {model.class_name} and {interpolation.class_name}; "
                    "only a SimplePSF of PixelGrid and BasisPolynomial is read."
                )
            self._scale = float(model.state["scale"])
            side = int(model.state["size"])
            self._lanczos = _lanczos_order(model.state["interp"])
            self._keys = tuple(interpolation.state["_keys"])
            self._powers = np.argwhere(np.asarray(interpolation.state["_mask"], bool))
            self._coefficients = np.asarray(interpolation.state["q"], float).reshape(side, side, -1)
            self._world = 1.0 if "u" not in self._keys else _pixel_scale(psf.state["wcs"])
            self._pixel = _pixel_scale(psf.state["wcs"])
            self._colour = _mean_colour(psf) if "colorValue" in self._keys else 0.0
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            if isinstance(error, StackFileError):
                raise
            raise StackFileError(f"{what} has an unknown form: {error!r}") from error
        unknown = set(self._keys) - {"u", "v", "x", "y", "colorValue"}
        if unknown:
            raise StackFileError(f"{what} varies with {', '.join(sorted(unknown))}, which is not known.")

    @property
    def degree(self) -> int:
        """Largest total degree of the polynomials in the position."""
        spatial = [i for i, key in enumerate(self._keys) if key != "colorValue"]
        return int(self._powers[:, spatial].sum(axis=1).max())

    def image_at(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the centred image at a position (pixels of the stack), not normalised."""
        of_key = {
            "u": x * self._world,
            "v": y * self._world,
            "x": x,
            "y": y,
            "colorValue": self._colour,
        }
        values = np.array([of_key[key] for key in self._keys])
        terms = np.prod(values[np.newaxis, :] ** self._powers, axis=1)
        grid = self._coefficients @ terms
        half = self.size // 2
        step = self._pixel / self._scale
        weights = _resampling(np.arange(-half, half + 1) * step, grid.shape[0], self._lanczos)
        return np.asarray(weights @ grid @ weights.T)


def _resampling(offsets: NDArray[np.float64], side: int, order: int) -> NDArray[np.float64]:
    """Return Lanczos weights of a grid's values at offsets from its middle; shape (n, side)."""
    weights = lanczos_weights(offsets, side, order)
    # A constant stays constant, but only where the kernel lies within the grid.
    total = weights.sum(axis=1, keepdims=True)
    inside = np.abs(offsets[:, np.newaxis]) + order <= side // 2 + 1
    return np.where(inside & (total != 0), weights / np.where(total == 0, 1, total), weights)


def _lanczos_order(interpolant: Record) -> int:
    if interpolant.class_name != "Lanczos":
        raise StackFileError(f"the interpolant {interpolant.class_name} is not read, only Lanczos.")
    for name in ("_n", "n"):
        if name in interpolant.state:
            return int(interpolant.state[name])
    return int(interpolant.arguments[0])


def _pixel_scale(wcs: dict[int, Record]) -> float:
    """Return the size of a pixel in the units of the grid; the stack uses this projection by default."""
    (one,) = wcs.values()
    if one.class_name != "PixelScale":
        raise StackFileError(f"coordinates of the kind {one.class_name} are not read, only PixelScale.")
    return float(one.state["_scale"] if "_scale" in one.state else one.arguments[0])


def _mean_colour(psf: Record) -> float:
    colours = [
        star.state["data"].state["properties"]["colorValue"]
        for star in psf.state.get("stars", [])
        if isinstance(star, Record)
    ]
    return float(np.nanmean(colours)) if colours else 0.0
