"""Fit the reliability model: the mean of small networks of the features, each with a linear part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from prompt_processing.imaging.measurement.reliability import FEATURES, ReliabilityModel

VERSION = "net-1"
HIDDEN = 6
RIDGE = 10.0
NETWORKS = 5
REAL_PER_SPURIOUS = 2.0
"""Ratio of real to spurious sources for which the score is a probability."""


def balanced_weights(real: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return weights of sum 1 by which real sources weigh `REAL_PER_SPURIOUS` times the spurious ones."""
    share = REAL_PER_SPURIOUS / (1 + REAL_PER_SPURIOUS)
    return np.where(real, share / max(real.sum(), 1), (1 - share) / max((~real).sum(), 1))


def fit_model(values: NDArray[np.float64], real: NDArray[np.bool_]) -> dict[str, Any]:
    """Fit the model to sources that weigh as `balanced_weights` says.

    The average of several fits from random starts varies less with the training set than one of them.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n, len(FEATURES))
        Features.
    real : `~numpy.ndarray` of bool, shape (n,)
        Which sources are real.

    Returns
    -------
    model : `dict`
        The fields of the model's file.
    """
    mean, scale = values.mean(axis=0), np.maximum(values.std(axis=0), 0.05)
    inputs = ReliabilityModel.standardise(values, mean, scale)
    sign = np.where(real, 1.0, -1.0)
    weight = balanced_weights(real) * len(real)
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
