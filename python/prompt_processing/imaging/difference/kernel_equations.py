"""Normal equations of the matching kernel: their prior, their solution, and how much the kernel may vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .options import KernelOptions

FREE = 1e-2
"""Precision of a weight that the prior leaves to the data."""

FOLDS = 3
"""Groups of stamps that are left out in turn, to choose how much the kernel may vary."""


@dataclass(frozen=True, slots=True, eq=False)
class Equations:
    """Chi squared of each stamp as ``constant - 2 right.a + a.matrix.a + noise * a.overlap.a``.

    Arrays have one entry per stamp, but ``overlap`` is common to all. The last term comes from the convolved
    image's own noise; it is part of the residual, but not of the equations for the weights ``a``.
    """

    matrix: NDArray[np.float64]
    right: NDArray[np.float64]
    constant: NDArray[np.float64]
    dof: NDArray[np.float64]
    noise: NDArray[np.float64]
    overlap: NDArray[np.float64]

    def chi2(self, weights: NDArray[np.float64], rows: Any = slice(None)) -> NDArray[np.float64]:
        """Return the reduced chi squared of some stamps, given the weights at each, shape (n, n_basis)."""
        squares = np.einsum("ni,nij,nj->n", weights, self.matrix[rows], weights, optimize=True)
        own = np.einsum("ni,ij,nj->n", weights, self.overlap, weights, optimize=True)
        product = np.sum(self.right[rows] * weights, axis=1)
        total = self.constant[rows] - 2 * product + squares + self.noise[rows] * own
        return np.asarray(total / self.dof[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Normal:
    """Normal equations of all stamps together, for the weights in the order (basis image, term).

    The matrix is that of the design without its noise, which ``noise`` is: directions whose signal does not
    exceed it may be negative.
    """

    matrix: NDArray[np.float64]
    noise: NDArray[np.float64]
    right: NDArray[np.float64]

    @classmethod
    def of(cls, equations: Equations, terms: NDArray[np.float64], rows: NDArray[np.intp]) -> Normal:
        """Sum the equations of some stamps."""
        terms, normal = terms[rows], equations.matrix[rows]
        n_terms, n_basis = terms.shape[1], normal.shape[1]
        products = (terms[:, :, np.newaxis] * terms[:, np.newaxis]).reshape(len(terms), -1)
        blocks = (products.T @ normal.reshape(len(terms), -1)).reshape(n_terms, n_terms, n_basis, n_basis)
        matrix = blocks.transpose(2, 0, 3, 1).reshape(n_basis * n_terms, -1)
        spread = (equations.noise[rows] @ products).reshape(n_terms, n_terms)
        noise = np.asarray(np.kron(equations.overlap, spread), np.float64)
        right = np.einsum("nb,nt->bt", equations.right[rows], terms, optimize=True).ravel()
        return cls(matrix, noise, right)

    def __add__(self, other: Normal) -> Normal:
        return Normal(self.matrix + other.matrix, self.noise + other.noise, self.right + other.right)

    def __sub__(self, other: Normal) -> Normal:
        return Normal(self.matrix - other.matrix, self.noise - other.noise, self.right - other.right)

    def scaled(self, scale: NDArray[np.float64]) -> Normal:
        """Return the equations for the weights in units of ``scale``."""
        square = scale[:, np.newaxis] * scale
        return Normal(self.matrix * square, self.noise * square, self.right * scale)

    def principal(self) -> tuple[Principal, NDArray[np.float64]]:
        """Return the equations in their principal axes, and these axes."""
        signal, axes = np.linalg.eigh(self.matrix)
        noise = np.einsum("ik,ij,jk->k", axes, self.noise, axes, optimize=True)
        return Principal(np.maximum(signal, 0.0), np.maximum(noise, 0.0), axes.T @ self.right), axes


@dataclass(frozen=True, slots=True, eq=False)
class Principal:
    """Independent equations: ``signal * weight = right``, with the squared noise of the design."""

    signal: NDArray[np.float64]
    noise: NDArray[np.float64]
    right: NDArray[np.float64]

    def solve(self, precision: float) -> NDArray[np.float64]:
        """Return the weights that are most likely with a prior around 0.

        Each is the ratio of its right side to its signal, whose variance exceeds that of an exact design by
        its noise. Where the signal drowns in it, the weight goes to 0 instead of beyond all bounds.
        """
        variance = precision * (self.signal + self.noise)
        return np.asarray(
            self.right * self.signal / np.maximum(self.signal**2 + variance, np.finfo(float).tiny)
        )


def choose_variation(
    equations: Equations, terms: NDArray[np.float64], rows: NDArray[np.intp], options: KernelOptions
) -> float:
    """Return the expected variation of the weights that best predicts stamps left out of the fit.

    Few stars determine the kernel's core everywhere, but its wings hardly anywhere: with more freedom than
    the PSFs need, it leaves a few per cent of a bright star's light where no star holds it.
    """
    folds = [rows[first::FOLDS] for first in range(FOLDS)]
    parts = [Normal.of(equations, terms, fold) for fold in folds]
    whole = sum(parts[1:], parts[0])
    n_basis, n_terms = equations.matrix.shape[1], terms.shape[1]
    scores = np.zeros(len(options.variations))
    for fold, part in zip(folds, parts, strict=True):
        for k, weights in enumerate(_solve_each(whole - part, n_terms, options)):
            local = terms[fold] @ weights.reshape(n_basis, n_terms).T
            # The logarithm: where no kernel fits bright stars, they do not decide alone.
            scores[k] += np.sum(np.log(np.maximum(equations.chi2(local, fold), 1e-3)))
    return options.variations[int(np.argmin(scores))]


def _solve_each(normal: Normal, n_terms: int, options: KernelOptions) -> list[NDArray[np.float64]]:
    """Return the weights for each expected variation."""
    precision = _precision(len(normal.right) // n_terms, n_terms, options, np.inf)
    # What varies is solved for in its principal axes, after the rest is eliminated: one decomposition
    # serves all priors.
    fixed, varies = np.flatnonzero(precision), np.flatnonzero(precision == 0)
    scale = precision[fixed] ** -0.5
    rest = np.ix_(fixed, fixed)
    own = Normal(normal.matrix[rest], normal.noise[rest], normal.right[fixed]).scaled(scale)
    principal, axes = own.principal()
    inverse = scale[:, np.newaxis] * axes
    mean = inverse @ principal.solve(1.0)
    gain = principal.signal / (principal.signal**2 + principal.signal + principal.noise)
    slopes = (inverse * gain) @ (inverse.T @ normal.matrix[np.ix_(fixed, varies)])

    def reduced(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        shared = slopes.T @ (matrix[np.ix_(fixed, varies)] - 0.5 * matrix[rest] @ slopes)
        return np.asarray(matrix[np.ix_(varies, varies)] - shared - shared.T)

    right = normal.right[varies] - slopes.T @ normal.right[fixed]
    varying, directions = Normal(reduced(normal.matrix), reduced(normal.noise), right).principal()
    out = []
    for variation in options.variations:
        weights = np.empty(len(precision))
        weights[varies] = directions @ varying.solve(variation**-2)
        weights[fixed] = mean - slopes @ weights[varies]
        out.append(weights)
    return out


def _precision(n_basis: int, n_terms: int, options: KernelOptions, variation: float) -> NDArray[np.float64]:
    """Return the prior's weight for each unknown, in the order of the normal equations."""
    # The mean flux ratio is left free; all other weights are expected to be small, and variations smaller.
    precision = np.full((n_basis, n_terms), options.prior**-2)
    precision[:, 1:] = variation**-2
    precision[0] = options.flux_variation**-2
    precision[0, 0] = FREE
    return precision.ravel()


def solve(
    equations: Equations,
    terms: NDArray[np.float64],
    used: NDArray[np.bool_],
    options: KernelOptions,
    variation: float,
) -> NDArray[np.float64]:
    """Return the weights of the basis images for all stamps together, shape (n_basis, n_terms).

    Parameters
    ----------
    equations : `Equations`
        Equations of each stamp.
    terms : `~numpy.ndarray`, shape (n, n_terms)
        Terms of the polynomial at each stamp.
    used : `~numpy.ndarray` of bool, shape (n,)
        Stamps to use.
    options : `KernelOptions`
        The prior.
    variation : `float`
        Expected size of the weights' variation over the image.
    """
    n_basis, n_terms = equations.matrix.shape[1], terms.shape[1]
    scale = _precision(n_basis, n_terms, options, variation) ** -0.5
    principal, axes = Normal.of(equations, terms, np.flatnonzero(used)).scaled(scale).principal()
    return np.asarray((scale * (axes @ principal.solve(1.0))).reshape(n_basis, n_terms))


def condition_number(
    equations: Equations,
    terms: NDArray[np.float64],
    used: NDArray[np.bool_],
    options: KernelOptions,
    variation: float,
) -> float:
    """Return the condition number of what `solve` solves, with ones on its diagonal."""
    matrix = Normal.of(equations, terms, np.flatnonzero(used)).matrix
    matrix[np.diag_indices_from(matrix)] += _precision(
        equations.matrix.shape[1], terms.shape[1], options, variation
    )
    scale = np.maximum(np.abs(np.diag(matrix)), np.finfo(float).tiny) ** -0.5
    eigenvalues = np.linalg.eigvalsh(matrix * scale[:, np.newaxis] * scale)
    return float(eigenvalues[-1] / eigenvalues[eigenvalues > 1e-10 * eigenvalues[-1]][0])
