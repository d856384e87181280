"""Fit the spatially varying kernel that matches one image's PSF to another's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermeval
from numpy.typing import NDArray
from scipy import fft

from prompt_processing.images import polynomial_terms
from prompt_processing.images.kernel import MatchingKernel
from prompt_processing.imaging.errors import TooFewKernelStarsError
from prompt_processing.imaging.row_bands import in_bands

from .alike_stamps import FEW_STAMPS, of_one_flux_ratio, without_misfits
from .kernel_equations import Equations, choose_variation, condition_number, solve
from .options import KernelOptions

NOISE_REMOVED = 0.9
"""Share of the convolved image's noise power to subtract from the normal equations; the rest
keeps them positive where they have no signal."""


@dataclass(frozen=True, slots=True, eq=False)
class Stamps:
    """Squares around sources in both images.

    Attributes
    ----------
    x, y : `~numpy.ndarray`, shape (n,)
        Integer centres, pixels.
    source : `~numpy.ndarray` of float32, shape (n, window + size - 1, window + size - 1)
        The image to be convolved, with the kernel's reach around the window.
    target, variance : `~numpy.ndarray` of float32, shape (n, window, window)
        The image to be matched, and the variance of the two together;
        infinite for unusable pixels.
    source_variance : `~numpy.ndarray` of float32, shape (n, window, window)
        Variance of the image to be convolved, before the convolution.
    correlation : `~numpy.ndarray`, shape (k, k), or `None`
        Covariance of that image's noise by lag, in units of its
        variance at frequency 0; `None` if it is white.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    source: NDArray[np.float32]
    target: NDArray[np.float32]
    variance: NDArray[np.float32]
    source_variance: NDArray[np.float32]
    correlation: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class KernelFit:
    """The kernel and the quality of its fit.

    Attributes
    ----------
    kernel : `MatchingKernel`
    used : `~numpy.ndarray` of bool, shape (n,)
        Stamps that were not rejected.
    chi2 : `~numpy.ndarray`, shape (n,)
        Reduced chi squared of each stamp under the last solution.
    condition : `float`
        Condition number of the normal equations.
    """

    kernel: MatchingKernel
    used: NDArray[np.bool_]
    chi2: NDArray[np.float64]
    condition: float


@dataclass(frozen=True, slots=True, eq=False)
class GaussHermiteBasis:
    """Products of two one-dimensional functions, and the images composed of them.

    Attributes
    ----------
    functions : `~numpy.ndarray`, shape (n_functions, size)
        One-dimensional functions.
    pairs : `tuple` of `tuple`
        Functions along x and along y of each raw product.
    mixing : `~numpy.ndarray`, shape (n_basis, n_basis)
        Basis image = ``mixing @ raw products``: the first image, the expected
        Gaussian, has sum 1, the others sum 0 and unit norm, so that the first weight is the flux ratio.
    """

    functions: NDArray[np.float64]
    pairs: tuple[tuple[int, int], ...]
    mixing: NDArray[np.float64]

    @classmethod
    def make(
        cls, sigmas: tuple[float, ...], degrees: tuple[int, ...], half: int, expected: float
    ) -> GaussHermiteBasis:
        """Make the basis; sigmas and ``half`` in pixels, ``expected`` is the reference among the sigmas."""
        offsets = np.arange(-half, half + 1, dtype=float)
        functions: list[NDArray[np.float64]] = []
        pairs: list[tuple[int, int]] = []
        reference = 0
        for sigma, degree in zip(sigmas, degrees, strict=True):
            first = len(functions)
            if sigma == expected:
                reference = len(pairs)
            for power in range(degree + 1):
                profile = hermeval(offsets / sigma, [0.0] * power + [1.0])
                functions.append(np.asarray(profile * np.exp(-0.5 * (offsets / sigma) ** 2)))
            pairs += [(first + i, first + j) for i in range(degree + 1) for j in range(degree + 1 - i)]
        raw = np.array([np.outer(functions[j], functions[i]) for i, j in pairs])
        sums = raw.sum(axis=(1, 2))
        mixing = np.eye(len(pairs))
        # The reference goes first: the prior keeps all others small.
        mixing[[0, reference]] = mixing[[reference, 0]]
        sums = mixing @ sums
        mixing[0] /= sums[0]
        mixing[1:] -= sums[1:, np.newaxis] * mixing[0]
        norms = np.sqrt(np.sum(np.tensordot(mixing, raw, axes=1) ** 2, axis=(1, 2)))
        mixing[1:] /= norms[1:, np.newaxis]
        return cls(np.array(functions), tuple(pairs), mixing)

    @property
    def half(self) -> int:
        """Half width of the images, pixels."""
        return int(self.functions.shape[1] // 2)

    def images(self) -> NDArray[np.float64]:
        """Return the basis images, shape (n_basis, size, size)."""
        raw = np.array([np.outer(self.functions[j], self.functions[i]) for i, j in self.pairs])
        return np.asarray(np.tensordot(self.mixing, raw, axes=1))

    def convolve(self, stamps: NDArray[np.float32], window: int) -> NDArray[np.float64]:
        """Convolve stamps with every basis image.

        Parameters
        ----------
        stamps : `~numpy.ndarray`, shape (n, window + 2 * half, window + 2 * half)
        window : `int`
            Width of the result, pixels.

        Returns
        -------
        convolved : `~numpy.ndarray`, shape (n, n_basis, window * window)
        """
        size = self.functions.shape[1]
        reach = window + size - 1
        # In the precision of the pixels, for half of the time.
        bands = np.zeros((len(self.functions), window, reach), np.float32)
        for row in range(window):
            bands[:, row, row : row + size] = self.functions[:, ::-1]
        rows = np.matmul(bands[np.newaxis], stamps[:, np.newaxis])
        raw = np.empty((len(stamps), len(self.pairs), window, window), np.float32)
        for k, (i, j) in enumerate(self.pairs):
            np.matmul(rows[:, j], bands[i].T, out=raw[:, k])
        flat = raw.reshape(len(stamps), len(self.pairs), -1)
        return np.matmul(self.mixing.astype(np.float32), flat).astype(np.float64)


def make_basis(sigma: float, options: KernelOptions) -> GaussHermiteBasis:
    """Make the basis for an expected kernel of the given sigma (pixels)."""
    base = max(sigma, options.minimum_sigma / options.widths[0])
    sigmas = tuple(base * width for width in options.widths)
    half = int(np.clip(np.ceil(2.7 * sigmas[-1]), 7, options.maximum_half))
    return GaussHermiteBasis.make(sigmas, options.degrees, half, base)


def fit_kernel(
    stamps: Stamps,
    basis: GaussHermiteBasis,
    shape: tuple[int, int],
    options: KernelOptions,
    *,
    convolves_science: bool = False,
) -> KernelFit:
    """Solve for the kernel on stamps.

    Parameters
    ----------
    stamps : `Stamps`
        Stamps around stars and galaxies.
    basis : `GaussHermiteBasis`
        Basis of the kernel.
    shape : `tuple` of `int`
        Height and width of the whole image, pixels.
    options : `KernelOptions`
        Options of the fit.
    convolves_science : `bool`, optional
        Whether the kernel applies to the science image; recorded in the kernel.

    Raises
    ------
    TooFewKernelStarsError
        Raised if fewer than three stamps are left.

    Notes
    -----
    Alard & Lupton 1998, ApJ 503, 325; Alard 2000, A&AS 144, 363. Each stamp has
    its own background, eliminated from its normal equations, so that gradients
    of the sky do not affect the kernel. Chi squared of a stamp is a quadratic
    form of the solution, so rejection does not need the pixels again.
    """
    n = len(stamps.x)
    if n < 3:
        raise TooFewKernelStarsError("Too few sources to match the PSFs.", stamps=n, needed=3)
    equations = _normal_equations(stamps, basis, options)
    normal, right, constant, dof = equations.matrix, equations.right, equations.constant, equations.dof
    x_centre, y_centre, scale = (shape[1] - 1) / 2, (shape[0] - 1) / 2, max(shape) / 2
    order = options.spatial_order
    while order > 0 and n < 6 * (order + 1) * (order + 2) // 2:
        order -= 1
    terms = polynomial_terms((stamps.x - x_centre) / scale, (stamps.y - y_centre) / scale, order)
    complete = dof > 0.5 * np.max(dof)
    common = _common_kernel(equations, complete, options)
    precision = np.einsum("i,nij,j->n", common, normal, common, optimize=True)
    # A solution that starts from stars of another flux may take those for the ones that misfit.
    usable = complete & of_one_flux_ratio(right @ common, precision, options)
    used = usable
    chi2 = np.ones(n)
    weights = np.zeros((normal.shape[1], terms.shape[1]))
    variation = options.variations[0]
    for iteration in range(options.iterations):
        weights = solve(equations, terms, used, options, variation)
        chi2 = equations.chi2(terms @ weights.T)
        if iteration == options.iterations - 1:
            break
        kept = usable & without_misfits(chi2, constant / dof, used, options.clip)
        if kept.sum() < max(3, n // 3):
            break
        chosen = variation
        if iteration == 0 and order > 0:
            chosen = choose_variation(equations, terms, np.flatnonzero(kept), options)
        if np.array_equal(kept, used) and chosen == variation:
            break
        used, variation = kept, chosen
    kernel = MatchingKernel(basis.images(), weights, order, x_centre, y_centre, scale, convolves_science)
    condition = condition_number(equations, terms, used, options, variation)
    return KernelFit(kernel, used, chi2, condition)


def _common_kernel(
    equations: Equations, rows: NDArray[np.bool_], options: KernelOptions
) -> NDArray[np.float64]:
    """Return the weights of a kernel of sum 1 for all stamps, with which their flux ratios are compared.

    With the expected kernel, the ratio of a star would depend on its brightness and that of a galaxy on its
    size: an error of the kernel's shape weighs most in the cores of faint stars. Few stamps do not determine
    a shape, and may be variable sources for the most part.
    """
    weights = np.zeros(equations.matrix.shape[1])
    weights[0] = 1.0
    if np.count_nonzero(rows) >= FEW_STAMPS:
        found = solve(equations, np.ones((len(rows), 1)), rows, options, options.variations[0])[:, 0]
        if found[0] > 0:
            weights = found / found[0]
    return weights


def _convolve(images: NDArray[np.float64], kernel: NDArray[np.floating]) -> NDArray[np.float64]:
    """Convolve zero-padded images with one kernel, and keep their size.

    Equivalent to `scipy.signal.fftconvolve`, whose module takes longer to import than the rest of SciPy.
    """
    shape = tuple(a + b - 1 for a, b in zip(images.shape[1:], kernel.shape, strict=True))
    size = tuple(fft.next_fast_len(length, real=True) for length in shape)
    product = fft.irfft2(fft.rfft2(images, s=size) * fft.rfft2(kernel, s=size), s=size)
    top, left = ((length - 1) // 2 for length in kernel.shape)
    return np.asarray(product[:, top : top + images.shape[1], left : left + images.shape[2]])


def _normal_equations(stamps: Stamps, basis: GaussHermiteBasis, options: KernelOptions) -> Equations:
    n, window = len(stamps.x), stamps.target.shape[1]
    n_basis, half = len(basis.pairs), basis.half
    normal, right = np.empty((n, n_basis, n_basis)), np.empty((n, n_basis))
    constant, dof, noise = np.empty(n), np.empty(n), np.empty(n)
    images = basis.images()
    coloured = images
    if stamps.correlation is not None:
        coloured = _convolve(images, stamps.correlation)
    overlap = NOISE_REMOVED * images.reshape(n_basis, -1) @ coloured.reshape(n_basis, -1).T
    overlap = 0.5 * (overlap + overlap.T)

    def fill(part: slice) -> None:
        design = basis.convolve(stamps.source[part], window)
        core = stamps.source[part, half : half + window, half : half + window]
        floor = options.model_error * np.maximum(core, 0).astype(np.float64)
        weight = 1.0 / (stamps.variance[part].astype(np.float64) + floor**2).reshape(len(design), -1)
        data = stamps.target[part].reshape(len(design), -1).astype(np.float64)
        total = weight.sum(axis=1)
        total[total == 0] = 1.0
        mean = np.einsum("nbp,np->nb", design, weight, optimize=True) / total[:, np.newaxis]
        level = np.sum(data * weight, axis=1) / total
        root = np.sqrt(weight)
        design -= mean[:, :, np.newaxis]
        design *= root[:, np.newaxis]
        data = (data - level[:, np.newaxis]) * root
        normal[part] = design @ design.transpose(0, 2, 1)
        # The convolved image's own noise would act as signal and pull the kernel towards zero.
        own = np.nan_to_num(stamps.source_variance[part].reshape(len(design), -1))
        noise[part] = np.sum(own * weight, axis=1)
        normal[part] -= noise[part, np.newaxis, np.newaxis] * overlap
        right[part] = np.einsum("nbp,np->nb", design, data, optimize=True)
        constant[part] = np.sum(data**2, axis=1)
        dof[part] = np.sum(weight > 0, axis=1)

    def set_up(start: int, stop: int) -> None:
        # As many at once as fit into a core's cache.
        for first in range(start, stop, 32):
            fill(slice(first, min(first + 32, stop)))

    in_bands(set_up, n)
    return Equations(normal, right, constant, np.maximum(dof, 1.0), noise, overlap)
