"""Score the probability that DiaSources are real, from their measurements alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.imaging.errors import UnusableModelError

FEATURES = (
    "log_snr",
    "reduced_chi2",
    "aperture_to_psf",
    "size_to_psf",
    "elongation",
    "usable_fraction",
    "negative",
    "science_contrast",
    "template_contrast",
    "flagged",
    "sharpness",
    "misfit",
    "opposite_share",
    "nearby_contrast",
    "least_light",
)
"""Names of the columns of `features`, in order."""

_USUAL = dict(
    zip(FEATURES, (1.0, 0.0, 0.0, 0.0, 0.1, 1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.1, -1.0, 0.0), strict=True)
)
"""Features of an undisturbed point source."""

TRAIL_LENGTH = 2.5
"""Least length of a trail, in sigmas of the PSF ..."""
TRAIL_GAIN = 0.3
"""... with at most this share of a point source's excess chi squared ..."""
TRAIL_MISFIT = 0.15
"""... and at most this excess, in units of the significance squared."""

MODEL_ERROR = 0.03
"""Share of a point source's squared light that an imperfect PSF leaves: a hundredth for a good one, a
few for crowded fields, few stars or guiding errors. Cosmic rays and residuals of stars leave much more."""

_FLAGS = (
    "pixelFlags_bad",
    "pixelFlags_cr",
    "pixelFlags_interpolated",
    "pixelFlags_saturated",
    "pixelFlags_suspect",
    "pixelFlags_nodata",
)


def features(sources: Table) -> NDArray[np.float64]:
    """Return the features from which the score is computed.

    Parameters
    ----------
    sources : `~astropy.table.Table`
        Measurements, with the APDB's column names.

    Returns
    -------
    features : `~numpy.ndarray`, shape (n, len(FEATURES))
        Features, finite and of order 1; a missing measurement has the value of
        an undisturbed point source.
    """
    snr = np.maximum(np.abs(_column(sources, "snr", 5.0)), 1e-3)
    flux = _column(sources, "psfFlux", 0.0)
    # In any unit: the constant is negligible compared with a flux's error.
    size = np.fmax(np.fmax(np.abs(flux), 1e-3 * np.abs(_column(sources, "psfFluxErr", 0.0))), 1e-300)
    n_data = np.maximum(_column(sources, "psfNdata", 1.0), 1.0)
    chi2 = _column(sources, "psfChi2", np.nan)
    # Residuals from the PSF's own error do not count against a bright source.
    left = MODEL_ERROR * np.fmax(_column(sources, "pixelSnr", np.nan), snr) ** 2
    chi2 = np.maximum(chi2 - left, np.minimum(chi2, n_data)) / n_data
    ixx, iyy, ixy = (_column(sources, name, np.nan) for name in ("ixx", "iyy", "ixy"))
    area = np.sqrt(np.maximum(ixx * iyy - ixy**2, 0))
    psf_area = np.sqrt(
        np.maximum(
            _column(sources, "ixxPSF", np.nan) * _column(sources, "iyyPSF", np.nan)
            - _column(sources, "ixyPSF", 0.0) ** 2,
            0,
        )
    )
    spread = np.hypot(ixx - iyy, 2 * ixy) / (ixx + iyy)
    science = _column(sources, "scienceFlux", np.nan)
    template = _column(sources, "templateFlux", np.nan)
    error = np.abs(_column(sources, "psfFluxErr", np.nan))
    flagged = sum((_column(sources, name, 0.0) for name in _FLAGS), np.zeros(len(sources)))
    usable = n_data / max(float(np.max(n_data, initial=1.0)), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_shape = {
            "reduced_chi2": np.log(chi2),
            "aperture_to_psf": _column(sources, "apFlux", np.nan) / flux - 1,
            "size_to_psf": np.log(area / psf_area),
            "elongation": spread,
            "sharpness": np.log(_column(sources, "sharpness", np.nan)),
            "misfit": _column(sources, "misfit", np.nan),
        }
        columns = {
            "log_snr": np.log10(snr),
            "usable_fraction": usable,
            "negative": (flux < 0).astype(float),
            "science_contrast": np.log10(np.abs(science) / size),
            "template_contrast": np.log10(np.abs(template) / size),
            "flagged": np.minimum(flagged, 3.0),
            "opposite_share": _column(sources, "oppositeShare", np.nan),
            "nearby_contrast": np.log10(_column(sources, "nearbyFlux", np.nan) / size),
            # No light is negative: where either image's is, the change is noise or a residual.
            "least_light": np.fmin(science, template) / error,
        }
        trailed, of_trail = _trails(sources, snr, chi2 * n_data - n_data)
    for name, values in of_shape.items():
        # A source that fits a trail is as real as one that fits the PSF, so the trail's fit is used.
        columns[name] = np.where(trailed, of_trail.get(name, _USUAL[name]), values)
    table = np.stack(
        [np.where(np.isfinite(columns[name]), columns[name], _USUAL[name]) for name in FEATURES], axis=-1
    )
    return np.clip(table, -3.0, 3.0)


def _trails(
    sources: Table, snr: NDArray[np.float64], excess: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.float64]]]:
    """Return which sources fit a trail far better than a point, and the features of that fit."""
    n_data = np.maximum(_column(sources, "trailNdata", 0.0), 1.0)
    chi2 = _column(sources, "trailChi2", np.nan)
    left = chi2 - n_data
    length = _column(sources, "trailLength", np.nan) / np.sqrt(
        np.maximum(_column(sources, "ixxPSF", np.nan), 1e-12)
    )
    trailed = np.isfinite(chi2) & (length > TRAIL_LENGTH) & (left < TRAIL_GAIN * excess)
    trailed &= left < TRAIL_MISFIT * snr**2 + 3 * np.sqrt(2 * n_data)
    return trailed, {"reduced_chi2": np.log(chi2 / n_data), "misfit": left / np.maximum(snr**2, 1.0)}


LONGEST_VERSION = 7
"""Characters of the APDB's column ``reliabilityVersion``. PostgreSQL refuses rows with a longer version."""


@dataclass(frozen=True, slots=True)
class ReliabilityModel:
    """A network of `features` with one hidden layer and a linear part.

    Attributes
    ----------
    version : `str`
        Version of the model, stored with every score.
    intercept : `float`
        Log odds where all else is 0.
    hidden_weights : `~numpy.ndarray`, shape (len(FEATURES), n_hidden)
        Weights from the standardised features to the hidden layer.
    hidden_bias, output_weights : `~numpy.ndarray`, shape (n_hidden,)
        Bias of the hidden layer, and its weights in the log odds.
    linear_weights : `~numpy.ndarray`, shape (len(FEATURES),)
        Log odds per standardised feature.
    mean, scale : `~numpy.ndarray`, shape (len(FEATURES),)
        Mean and scale of each feature, for standardisation.
    """

    version: str
    intercept: float
    hidden_weights: NDArray[np.float64]
    hidden_bias: NDArray[np.float64]
    output_weights: NDArray[np.float64]
    linear_weights: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def load(cls) -> ReliabilityModel:
        """Read the packaged model, which ``benchmarks/train_reliability.py`` makes."""
        text = resources.files(__package__).joinpath("reliability_model.json").read_text("utf-8")
        return cls.from_fields(json.loads(text))

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> ReliabilityModel:
        """Make a model from the attributes as JSON has them.

        Raises
        ------
        UnusableModelError
            Raised if a field is missing, or does not fit `FEATURES` or the APDB.
        """
        try:
            model = cls(
                str(fields["version"]),
                float(fields["intercept"]),
                *(np.asarray(fields[name], float) for name in _ARRAYS),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnusableModelError(
                f"The reliability model is unusable: {type(error).__name__}: {error}"
            ) from error
        if len(model.version) > LONGEST_VERSION:
            raise UnusableModelError(
                f"The reliability model has a version of more than {LONGEST_VERSION} characters",
                version=model.version,
            )
        n, n_hidden = len(FEATURES), model.hidden_bias.size
        shapes = {name: getattr(model, name).shape for name in _ARRAYS}
        hidden = {"hidden_weights": (n, n_hidden), "hidden_bias": (n_hidden,), "output_weights": (n_hidden,)}
        expected: dict[str, tuple[int, ...]] = {name: hidden.get(name, (n,)) for name in _ARRAYS}
        if shapes != expected or list(fields.get("features", FEATURES)) != list(FEATURES):
            raise UnusableModelError(
                f"The reliability model {model.version} is made for other features than these {n}",
                **{name: str(shape) for name, shape in shapes.items() if shape != expected[name]},
            )
        return model

    def score(self, sources: Table) -> NDArray[np.float32]:
        """Return the probability that each source is real, 0 to 1; shape (n,)."""
        if not len(sources):
            return np.zeros(0, np.float32)
        return np.asarray(self.probability(features(sources)), np.float32)

    def probability(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of being real for rows of `features`; shape (n,)."""
        inputs = self.standardise(values, self.mean, self.scale)
        hidden = np.tanh(inputs @ self.hidden_weights + self.hidden_bias)
        log_odds = self.intercept + hidden @ self.output_weights + inputs @ self.linear_weights
        return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -30, 30))))

    @staticmethod
    def standardise(
        values: NDArray[np.float64], mean: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Shift and scale features, within five scales of the mean: the model does not extrapolate."""
        return np.clip((values - mean) / scale, -5, 5)


_ARRAYS = ("hidden_weights", "hidden_bias", "output_weights", "linear_weights", "mean", "scale")
"""Fields of a model that are arrays, in the order of its attributes."""


def _column(sources: Table, name: str, default: float) -> NDArray[np.float64]:
    if name not in sources.colnames:
        return np.full(len(sources), default)
    return np.asarray(sources[name], np.float64)
