"""Fit the reliability model: the mean of small networks of the features, each with a linear part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from prompt_processing.imaging.measurement.reliability import FEATURES, ReliabilityModel

VERSION = "net-2"
HIDDEN = 12
RIDGE = 10.0
NETWORKS = 5
REAL_PER_SPURIOUS = 3.0
"""Ratio of real to spurious sources for which the score is a probability."""

SHARES = {"real": (0.35, 0.28), "regime": (0.30, 0.62), "plain": (0.35, 0.10)}
"""Share of the weight of all real, and of all spurious, sources that each family of pairs has. Plain scenes
have most of the real sources, and few artefacts but noise."""


def balanced_weights(real: NDArray[np.bool_], family: NDArray[np.str_] | None = None) -> NDArray[np.float64]:
    """Return weights of sum 1 by which real sources weigh `REAL_PER_SPURIOUS` times the spurious ones.

    Parameters
    ----------
    real : `~numpy.ndarray` of bool, shape (n,)
        Which sources are real.
    family : `~numpy.ndarray` of str, shape (n,), optional
        Key of `SHARES` of each source's pair. Without it, all real sources weigh alike, and all spurious
        ones.
    """
    weight = np.ones(len(real))
    for row, chosen in enumerate((real, ~real)):
        for name, shares in SHARES.items() if family is not None else ():
            members = chosen & (family == name)
            weight[members] = shares[row] / max(members.sum(), 1)
        weight[chosen] *= (REAL_PER_SPURIOUS, 1.0)[row] / max(float(weight[chosen].sum()), 1e-300)
    return weight / weight.sum()


def fit_model(
    values: NDArray[np.float64], real: NDArray[np.bool_], family: NDArray[np.str_] | None = None
) -> dict[str, Any]:
    """Fit the model to sources that weigh as `balanced_weights` says.

    The average of several fits from random starts varies less with the training set than one of them.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n, len(FEATURES))
        Features.
    real : `~numpy.ndarray` of bool, shape (n,)
        Which sources are real.
    family : `~numpy.ndarray` of str, shape (n,), optional
        Key of `SHARES` of each source's pair.

    Returns
    -------
    model : `dict`
        The fields of the model's file.
    """
    mean, scale = values.mean(axis=0), np.maximum(values.std(axis=0), 0.05)
    inputs = ReliabilityModel.standardise(values, mean, scale)
    sign = np.where(real, 1.0, -1.0)
    weight = balanced_weights(real, family) * len(real)
    n = inputs.shape[1]
    shapes = ((n, HIDDEN), (HIDDEN,), (HIDDEN,), (n,), ())
    sizes = [int(np.prod(shape)) for shape in shapes]

    def unpack(parameters: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        parts = np.split(parameters, np.cumsum(sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    # Biases are free; all else is drawn towards 0.
    penalized = np.concatenate(
        [np.full(size, penalty) for size, penalty in zip(sizes, (1.0, 0.0, 1.0, 1.0, 0.0), strict=True)]
    )

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        into, bias, out, linear, intercept = unpack(parameters)
        hidden = np.tanh(inputs @ into + bias)
        margin = sign * (hidden @ out + inputs @ linear + intercept)
        value = weight @ np.logaddexp(0, -margin) + 0.5 * RIDGE * np.sum(penalized * parameters**2)
        slope = -weight * sign / (1 + np.exp(np.clip(margin, -500, 500)))
        back = slope[:, np.newaxis] * out * (1 - hidden**2)
        parts = (inputs.T @ back, back.sum(axis=0), hidden.T @ slope, inputs.T @ slope, slope.sum())
        gradient = np.concatenate([np.ravel(part) for part in parts])
        return float(value), gradient + RIDGE * penalized * parameters

    rng = np.random.default_rng(1)
    starts = rng.normal(0, 0.3, (NETWORKS, sum(sizes)))
    options = {"maxiter": 400}
    fits = [minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x for start in starts]
    into, bias, out, linear, intercepts = (list(parts) for parts in zip(*map(unpack, fits), strict=True))
    fields = {
        "hidden_weights": np.hstack(into),
        "hidden_bias": np.hstack(bias),
        "output_weights": np.hstack(out) / NETWORKS,
        "linear_weights": np.mean(linear, axis=0),
    }
    return {
        "version": VERSION,
        "features": list(FEATURES),
        "intercept": round(float(np.mean(intercepts)), 6),
        **{name: np.round(part, 6).tolist() for name, part in fields.items()},
        "mean": np.round(mean, 6).tolist(),
        "scale": np.round(scale, 6).tolist(),
    }


def score_with(model: dict[str, Any], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply a model before it is written."""
    return np.asarray(ReliabilityModel.from_fields(model).probability(values), float)
