"""Point-spread function of one exposure, which varies over the field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PSF_WEIGHTS = np.array([0.47949, 0.364038, 0.101961, 0.033214, 0.012892, 0.005682, 0.002723])
PSF_VARIANCES = np.array([0.14743, 0.28605, 0.71296, 1.8971, 5.1422, 14.952, 61.907])
"""A Kolmogorov profile of FWHM 1 as Gaussians: within 0.3 per cent of ``galsim.Kolmogorov`` from the
centre to 8 FWHM. As a sum of Gaussians, star, galaxy and trail all have closed forms, without aliasing."""

_SKEW = np.minimum(np.sqrt(PSF_VARIANCES), 1.5)
PSF_SKEW = _SKEW - np.sum(PSF_WEIGHTS * _SKEW)
"""Displacement of each Gaussian for unit coma: wide ones trail narrow ones; the centroid is unchanged."""


@dataclass(frozen=True, slots=True, eq=False)
class PointSpread:
    """Size, ellipticity and coma as sums of waves over the field.

    Attributes
    ----------
    fwhm
        FWHM of the mean profile, arcsec.
    e1, e2
        Mean ellipticity ``(a2 - b2) / (a2 + b2)``; 1 along east, 2 along north-east.
    coma
        Mean displacement of the wings relative to the core, east and north, in FWHM.
    waves : `~numpy.ndarray`, shape (n, 3)
        East and north wave numbers (radians per arcsec) and phase.
    amplitudes : `~numpy.ndarray`, shape (n, 5)
        Amplitudes of each wave in relative size, e1, e2 and both components of coma.
    """

    fwhm: float
    e1: float
    e2: float
    coma: tuple[float, float]
    waves: NDArray[np.float64]
    amplitudes: NDArray[np.float64]

    @classmethod
    def draw(
        cls, rng: np.random.Generator, fwhm: float, variation: float = 1.0, waves: int = 12
    ) -> PointSpread:
        """Draw a PSF.

        Parameters
        ----------
        rng : `~numpy.random.Generator`
        fwhm
            Arcsec.
        variation
            1 for variations of a few per cent in ellipticity and size over a detector, 0 for none.
        waves
            Number of waves, with lengths of 8 to 80 arcmin.
        """
        length = 60 * 10 ** rng.uniform(np.log10(8), np.log10(80), waves)
        angle = rng.uniform(0, 2 * np.pi, waves)
        vectors = 2 * np.pi / length[:, np.newaxis] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        scale = np.array([0.02, 0.025, 0.025, 0.03, 0.03]) * np.sqrt(2 / waves) * variation
        return cls(
            fwhm=fwhm,
            e1=float(rng.normal(0, 0.03 * variation)),
            e2=float(rng.normal(0, 0.03 * variation)),
            coma=(float(rng.normal(0, 0.04 * variation)), float(rng.normal(0, 0.04 * variation))),
            waves=np.column_stack([vectors, rng.uniform(0, 2 * np.pi, waves)]),
            amplitudes=rng.normal(0, 1, (waves, 5)) * scale,
        )

    def at(
        self, east: NDArray[np.float64], north: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the PSF at offsets from the boresight.

        Parameters
        ----------
        east, north : `~numpy.ndarray`, shape (n,)
            Gnomonic offsets, arcsec.

        Returns
        -------
        shape : `~numpy.ndarray`, shape (n, 2, 2)
            Multiply by `PSF_VARIANCES` for the covariances, arcsec squared, east and north.
        coma : `~numpy.ndarray`, shape (n, 2)
            Multiply by `PSF_SKEW` for the displacements, arcsec.
        """
        east, north = np.atleast_1d(east), np.atleast_1d(north)
        phase = np.outer(east, self.waves[:, 0]) + np.outer(north, self.waves[:, 1]) + self.waves[:, 2]
        size, e1, e2, coma_east, coma_north = (np.sin(phase) @ self.amplitudes).T
        fwhm = self.fwhm * (1 + size)
        e1, e2 = e1 + self.e1, e2 + self.e2
        round_part = fwhm**2 / np.sqrt(1 - e1**2 - e2**2)
        shape = np.empty((len(east), 2, 2))
        shape[:, 0, 0] = round_part * (1 + e1)
        shape[:, 1, 1] = round_part * (1 - e1)
        shape[:, 0, 1] = shape[:, 1, 0] = round_part * e2
        coma = fwhm[:, np.newaxis] * np.stack([coma_east + self.coma[0], coma_north + self.coma[1]], axis=-1)
        return shape, coma
