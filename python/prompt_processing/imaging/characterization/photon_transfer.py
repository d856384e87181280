"""Gain and read noise from the noise of pairs of frames (photon transfer, Janesick 2001)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prompt_processing.images.robust import MAD_TO_SIGMA

_BLOCK = 32
_MIN_BLOCKS = 4
_MAX_BLOCKS = 400

Method = Literal["photon transfer", "one level", "nominal"]


@dataclass(frozen=True, slots=True)
class FlatPair:
    """Signal and noise of a pair of equal flats.

    Attributes
    ----------
    mean
        ADU above bias.
    variance
        Variance of one frame, ADU squared, without the structure that both frames have.
    variance_err
        Standard error of that.
    """

    mean: float
    variance: float
    variance_err: float


@dataclass(frozen=True, slots=True)
class PhotonTransfer:
    """Gain and read noise of an amplifier.

    Attributes
    ----------
    gain, gain_err
        Electrons per ADU.
    read_noise, read_noise_err
        Electrons.
    method
        ``photon transfer``: fit to pairs of several levels; ``one level``: from pairs of one level, so that
        the brighter-fatter effect makes the gain too large; ``nominal``: not measured.
    brighter_fatter
        Relative loss of variance per ADU of signal; 0 if unknown.
    full_well
        Highest signal (ADU) up to which the variance follows the fit; NaN if unknown.
    n_pairs
        Number of pairs in the fit.
    """

    gain: float
    gain_err: float
    read_noise: float
    read_noise_err: float
    method: Method
    brighter_fatter: float = 0.0
    full_well: float = float("nan")
    n_pairs: int = 0


def block_noise(
    difference: NDArray[np.floating], usable: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Return the variance of an image within blocks, and its standard error.

    Variations on scales above some 32 pixels, differences between rows and between columns (a shutter, the
    fields of an interlaced detector) and single wild pixels do not count.

    Parameters
    ----------
    difference : `~numpy.ndarray`, shape (height, width)
        The image, for example the difference of two frames.
    usable : `~numpy.ndarray` of bool, shape (height, width), optional
        Pixels that may be used.

    Raises
    ------
    ValueError
        Raised if fewer than four blocks have enough usable pixels.
    """
    height, width = difference.shape
    step = min(_BLOCK, max(height // 4, 8), max(width // 4, 8))
    rows, columns = height // step, width // step
    trimmed = np.asarray(difference, float)[: rows * step, : columns * step]
    if usable is not None:
        trimmed = np.where(usable[: rows * step, : columns * step], trimmed, np.nan)
    cut = trimmed.reshape(rows, step, columns, step).swapaxes(1, 2).reshape(rows * columns, step, step)
    cut = cut[np.isfinite(cut).sum(axis=(1, 2)) > 0.5 * step * step]
    if len(cut) < _MIN_BLOCKS:
        raise ValueError(f"Only {len(cut)} blocks of {step} x {step} pixels are usable.")
    # Some 400 blocks determine the variance to 0.3 per cent.
    cut = cut[:: max(len(cut) // _MAX_BLOCKS, 1)]
    for _ in range(2):
        # Wild pixels would spread along their row and column.
        cut = cut - np.nanmedian(cut, axis=2, keepdims=True)
        cut = cut - np.nanmedian(cut, axis=1, keepdims=True)
        # Rounded values of a quiet amplifier may have a median deviation of 0.
        sigma = max(MAD_TO_SIGMA * float(np.nanmedian(np.abs(cut))), 0.5)
        cut = np.where(np.abs(cut) < 5.0 * sigma, cut, np.nan)
    cut = cut - np.nanmean(cut, axis=2, keepdims=True)
    cut = cut - np.nanmean(cut, axis=1, keepdims=True)
    count = np.isfinite(cut).sum(axis=(1, 2))
    # A block has as many constraints as rows and columns.
    variances = np.nansum(cut**2, axis=(1, 2)) / np.maximum(count - 2 * step + 1, 1)
    # A block with a trail or a dust grain that moved stands out from the others.
    centre = np.median(variances)
    spread = max(MAD_TO_SIGMA * float(np.median(np.abs(variances - centre))), 1e-9)
    good = np.abs(variances - centre) < 5.0 * spread
    value = float(np.average(variances[good], weights=count[good]))
    return value, float(max(np.std(variances[good]), value * np.sqrt(2 / step**2)) / np.sqrt(good.sum()))


def pair_noise(
    first: NDArray[np.float32], second: NDArray[np.float32], usable: NDArray[np.bool_] | None = None
) -> FlatPair:
    """Measure signal and noise of two equal frames of one amplifier.

    Parameters
    ----------
    first, second : `~numpy.ndarray` of float32, shape (height, width)
        ADU above bias.
    usable : `~numpy.ndarray` of bool, shape (height, width), optional
        Pixels that may be used.

    Raises
    ------
    ValueError
        Raised if too few pixels are usable.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    chosen = slice(None) if usable is None else usable
    level_a, level_b = float(np.median(a[chosen])), float(np.median(b[chosen]))
    mean = 0.5 * (level_a + level_b)
    if min(level_a, level_b) > 50.0:
        # The lamp was a little brighter in one of them.
        a, b = a * (mean / level_a), b * (mean / level_b)
    variance, error = block_noise(a - b, usable)
    return FlatPair(mean, 0.5 * variance, 0.5 * error)


def measure_read_noise(
    frames: Sequence[NDArray[np.float32]], usable: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Return the read noise (ADU) and its standard error from bias frames of one amplifier.

    Raises
    ------
    ValueError
        Raised if there are fewer than two frames, or too few pixels.
    """
    if len(frames) < 2:
        raise ValueError("The read noise needs at least two bias frames.")
    measured = [block_noise(np.asarray(b, float) - np.asarray(a, float), usable) for a, b in pairwise(frames)]
    # A difference has twice the variance of a frame.
    variance = max(0.5 * float(np.median([value for value, _ in measured])), 1e-6)
    error = 0.5 * float(np.median([error for _, error in measured])) / np.sqrt(len(frames) / 2)
    return float(np.sqrt(variance)), float(error / (2 * np.sqrt(variance)))


def fit_photon_transfer(
    pairs: Sequence[FlatPair],
    read_noise_adu: tuple[float, float],
    nominal_gain: float,
    nominal_read_noise: float,
) -> PhotonTransfer:
    """Derive an amplifier's gain from its pairs.

    Parameters
    ----------
    pairs
        Pairs of flats of any levels.
    read_noise_adu
        Read noise from bias frames and its standard error, ADU; NaN if unknown.
    nominal_gain, nominal_read_noise
        Values (electrons per ADU, electrons) for what cannot be measured.

    Notes
    -----
    With pairs of at least four levels, the variance is fitted by ``rn^2 + s/g - a s^2``, whose last term is
    the brighter-fatter effect, up to the level at which the variance falls: the full well.
    """
    noise, noise_err = read_noise_adu
    floor = noise**2 if np.isfinite(noise) else 0.0
    usable = sorted((p for p in pairs if p.mean > 0 and p.variance > 2 * floor), key=lambda pair: pair.mean)
    if not usable:
        gain, gain_err, method, bend, well = nominal_gain, float("nan"), "nominal", 0.0, float("nan")
        n_pairs = 0
    else:
        signal = np.array([pair.mean for pair in usable])
        excess = np.array([pair.variance for pair in usable]) - floor
        error = np.array([max(pair.variance_err, 1e-6) for pair in usable])
        below, well = _below_full_well(signal, excess)
        levels = len(np.unique(np.round(np.log(signal[below]) / 0.1)))
        if levels >= 4:
            slope, bend, slope_err = _fit_bent_line(signal[below], excess[below], error[below])
            method = "photon transfer"
        else:
            weight = (signal[below] / error[below]) ** 2
            slope = float(np.sum(weight * excess[below] / signal[below]) / np.sum(weight))
            slope_err, bend, method = float(np.sum(weight) ** -0.5), 0.0, "one level"
        gain, gain_err, n_pairs = 1 / slope, slope_err / slope**2, int(below.sum())
    if np.isfinite(noise):
        read_noise, read_noise_err = noise * gain, noise_err * gain
    else:
        read_noise, read_noise_err = nominal_read_noise, float("nan")
    return PhotonTransfer(
        float(gain), float(gain_err), float(read_noise), float(read_noise_err),
        method, float(bend), float(well), n_pairs,  # type: ignore[arg-type]
    )  # fmt: skip


def _below_full_well(
    signal: NDArray[np.float64], excess: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], float]:
    """Return the pairs below the signal at which the variance drops, and that signal."""
    ratio = excess / signal
    typical = float(np.median(ratio[: max(len(ratio) // 2, 1)]))
    broken = np.flatnonzero(ratio < 0.5 * typical)
    if len(broken) == 0 or broken[0] == 0:
        return np.ones(len(signal), np.bool_), float("nan")
    below = np.arange(len(signal)) < broken[0]
    return below, float(signal[broken[0] - 1])


def _fit_bent_line(
    signal: NDArray[np.float64], excess: NDArray[np.float64], error: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Fit ``slope * s - bend * slope * s**2``; return slope, bend and the slope's error."""
    design = np.column_stack([signal, -(signal**2)]) / error[:, np.newaxis]
    scale = np.linalg.norm(design, axis=0)
    solution, *_ = np.linalg.lstsq(design / scale, excess / error, rcond=None)
    covariance = np.linalg.inv((design / scale).T @ (design / scale))
    slope, curve = solution / scale
    slope_err = float(np.sqrt(covariance[0, 0]) / scale[0])
    if abs(solution[1]) < 3 * np.sqrt(covariance[1, 1]):
        # The bend is not significant: without it the slope is three times as accurate.
        weight = (signal / error) ** 2
        slope = float(np.sum(weight * excess / signal) / np.sum(weight))
        return slope, 0.0, float(np.sum(weight) ** -0.5)
    return float(slope), float(curve / slope), slope_err
