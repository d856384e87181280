"""Proper motions and colour terms of reference stars."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Distance, SkyCoord
from astropy.table import Table
from astropy.time import Time

from prompt_processing.imaging.calibration.colour_terms import ColourTerm
from prompt_processing.imaging.calibration.reference_epoch import at_epoch

CATALOGUE_MJD = 57388.5
IMAGE_MJD = 60900.25


def moving_stars(**changes: object) -> Table:
    columns = {
        "ra": [0.0001, 269.452, 180.0, 45.0],
        "dec": [-20.0, 4.693, 89.99, 0.0],
        "pm_ra": [-3000.0, -801.6, 500.0, 12.0],
        "pm_dec": [2000.0, 10362.4, -500.0, -7.0],
        "parallax": [50.0, 546.98, 10.0, 0.5],
        "epoch": [CATALOGUE_MJD] * 4,
    }
    return Table({**columns, **changes})


def test_stars_move_as_astropy_moves_them() -> None:
    stars = moving_stars()
    moved = at_epoch(stars, IMAGE_MJD)
    then, now = (Time(mjd, format="mjd", scale="tai") for mjd in (CATALOGUE_MJD, IMAGE_MJD))
    expected = SkyCoord(
        stars["ra"] * u.deg,
        stars["dec"] * u.deg,
        distance=Distance(parallax=stars["parallax"] * u.mas),
        pm_ra_cosdec=stars["pm_ra"] * u.mas / u.yr,
        pm_dec=stars["pm_dec"] * u.mas / u.yr,
        radial_velocity=np.zeros(4) * u.km / u.s,
        obstime=then,
    ).apply_space_motion(now)
    # As seen from the Earth: only there the parallax shows.
    vectors = expected.cartesian.xyz.to_value(u.au).T - _earth(now)
    seen = SkyCoord(*vectors.T, representation_type="cartesian")
    offsets = SkyCoord(moved["ra"] * u.deg, moved["dec"] * u.deg).separation(seen).mas
    # Light time across the parallax, and the curvature of the motion, are left out.
    np.testing.assert_array_less(offsets, 5.0)
    assert 60 < SkyCoord(stars["ra"] * u.deg, stars["dec"] * u.deg).separation(seen).arcsec[1] < 110


def _earth(time: Time) -> np.ndarray:
    from astropy.coordinates import get_body_barycentric

    return np.asarray(get_body_barycentric("earth", time, ephemeris="builtin").xyz.to_value(u.au))


def test_units_of_motions_are_honoured() -> None:
    stars = moving_stars()
    in_radians = moving_stars(
        pm_ra=(np.asarray(stars["pm_ra"]) * u.mas / u.yr).to(u.rad / u.yr),
        pm_dec=(np.asarray(stars["pm_dec"]) * u.mas / u.yr).to(u.rad / u.yr),
        parallax=(np.asarray(stars["parallax"]) * u.mas).to(u.rad),
    )
    np.testing.assert_allclose(at_epoch(in_radians, IMAGE_MJD)["dec"], at_epoch(stars, IMAGE_MJD)["dec"])


def test_a_star_of_unknown_motion_stays() -> None:
    moved = at_epoch(moving_stars(pm_ra=[np.nan, 1.0, 1.0, 1.0]), IMAGE_MJD)
    assert (moved["ra"][0], moved["dec"][0]) == (0.0001, -20.0)


def test_a_catalogue_without_motions_is_unchanged() -> None:
    stars = moving_stars()["ra", "dec"]
    assert at_epoch(stars, IMAGE_MJD) is stars


def test_a_colour_term_changes_magnitudes_by_colour_and_propagates_errors() -> None:
    flux = 10 ** (0.4 * (31.4 - np.array([[18.0, 17.5], [20.0, 18.6]])))
    reference = Table({"g_flux": flux[:, 0], "r_flux": flux[:, 1]})
    reference["g_fluxErr"], reference["r_fluxErr"] = flux[:, 0] * 0.01, flux[:, 1] * 0.02
    got, error = ColourTerm("r + 0.02 - 0.1 * (g - r)**2").apply(reference)
    magnitude = 31.4 - 2.5 * np.log10(got)
    np.testing.assert_allclose(magnitude, [17.5 + 0.02 - 0.025, 18.6 + 0.02 - 0.196], atol=1e-9)
    # d/dr = 1 + 0.2 (g - r), d/dg = -0.2 (g - r).
    np.testing.assert_allclose(
        error / got, np.hypot([1.1 * 0.02, 1.28 * 0.02], [0.1 * 0.01, 0.28 * 0.01]), rtol=1e-3
    )


def test_a_colour_term_names_the_band_that_the_catalogue_lacks() -> None:
    with pytest.raises(LookupError, match="z_flux"):
        ColourTerm("r - 0.1 * (r - z)").apply(Table({"r_flux": [1.0]}))


@pytest.mark.parametrize(
    "formula", ["r +", "1 + 2", "__import__('os').system('ls')", "r.x", "r if r else g", "True * r"]
)
def test_only_formulas_are_colour_terms(formula: str) -> None:
    with pytest.raises(ValueError, match="colour term"):
        ColourTerm(formula)
