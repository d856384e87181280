from __future__ import annotations

import numpy as np
import pytest

from prompt_processing.simulation import SkyCatalogue, SkyDensity, reference_stars
from prompt_processing.simulation.sky import separation_deg

RA, DEC, RADIUS = 150.0, 2.2, 0.12


@pytest.fixture(scope="module")
def sky() -> SkyCatalogue:
    return SkyCatalogue(5, SkyDensity(movers=1.0, transients=1.0))


def test_two_circles_agree_where_they_overlap(sky: SkyCatalogue) -> None:
    here = sky.stars(RA, DEC, RADIUS)
    elsewhere = SkyCatalogue(5, SkyDensity(movers=1.0, transients=1.0)).stars(RA + 0.1, DEC, RADIUS)
    both = np.intersect1d(here["id"], elsewhere["id"])
    in_other_circle = separation_deg(here["ra"], here["dec"], RA + 0.1, DEC) <= RADIUS
    assert len(both) == in_other_circle.sum() > 100
    assert np.array_equal(
        here[np.isin(here["id"], both)]["mag"], elsewhere[np.isin(elsewhere["id"], both)]["mag"]
    )


def test_another_seed_is_another_sky(sky: SkyCatalogue) -> None:
    other = SkyCatalogue(6).stars(RA, DEC, RADIUS)
    assert not np.isin(other["ra"], sky.stars(RA, DEC, RADIUS)["ra"]).any()


def test_circles_at_ra_zero_and_the_pole_are_full() -> None:
    sky = SkyCatalogue(1)
    area = np.pi * (RADIUS * 60) ** 2
    for ra, dec in ((0.0, -30.0), (10.0, 89.95)):
        assert len(sky.galaxies(ra, dec, RADIUS)) == pytest.approx(22 * area, rel=0.1)


def test_density_and_magnitudes_are_those_asked_for(sky: SkyCatalogue) -> None:
    area = np.pi * (RADIUS * 60) ** 2
    stars = sky.stars(RA, DEC, RADIUS)
    assert len(stars) == pytest.approx(6 * area, rel=0.15)
    assert stars["mag"][:, 2].min() >= 12.5
    assert stars["mag"][:, 2].max() <= 24.8
    # A few saturate in half a minute on a large telescope.
    assert (stars["mag"][:, 2] < 16).sum() >= 2
    transients = sky.transients(RA, DEC, RADIUS)
    assert np.all((transients["mag"][:, 2] > 21.0) & (transients["mag"][:, 2] < 24.3))


def test_ids_are_unique_over_kinds(sky: SkyCatalogue) -> None:
    ids = np.concatenate(
        [
            sky.stars(RA, DEC, RADIUS)["id"],
            sky.galaxies(RA, DEC, RADIUS)["id"],
            sky.transients(RA, DEC, RADIUS)["id"],
            sky.movers(RA, DEC, RADIUS, sky.epoch_mjd)["id"],
        ]
    )
    assert len(np.unique(ids)) == len(ids)


def test_supernovae_lie_on_their_hosts(sky: SkyCatalogue) -> None:
    transients = sky.transients(RA, DEC, RADIUS)
    supernovae = transients[transients["host"] >= 0]
    galaxies = {int(g["id"]): g for g in sky.galaxies(RA, DEC, RADIUS + 0.02)}
    assert 0.2 < len(supernovae) / len(transients) < 0.5
    offsets = []
    for supernova in supernovae:
        host = galaxies[int(supernova["host"])]
        separation = separation_deg(
            np.array([supernova["ra"]]), np.array([supernova["dec"]]), host["ra"], host["dec"]
        )[0]
        offsets.append(separation * 3600 / host["half_light_radius"])
    assert max(offsets) < 12
    assert 0.3 < np.median(offsets) < 2.5


def test_movers_move_at_their_rates(sky: SkyCatalogue) -> None:
    early, late = (sky.movers(RA, DEC, RADIUS, sky.epoch_mjd + hours / 24) for hours in (-0.2, 0.2))
    _, i, j = np.intersect1d(early["id"], late["id"], return_indices=True)
    assert len(i) > 20
    north = (late["dec"][j] - early["dec"][i]) * 3600
    assert np.allclose(north, early["rate_dec"][i] * 0.4, atol=1e-6)
    assert len(np.setdiff1d(late["id"], early["id"])) > 0


def test_reference_stars_differ_from_the_sky_by_their_errors(sky: SkyCatalogue) -> None:
    reference = reference_stars(sky, RA, DEC, RADIUS, seed=3)
    stars = sky.stars(RA, DEC, RADIUS)
    _, i, j = np.intersect1d(reference["id"], stars["id"], return_indices=True)
    assert len(i) == len(reference) > 100
    north_mas = (reference["dec"][i] - stars["dec"][j]) * 3.6e6
    east_mas = (reference["ra"][i] - stars["ra"][j]) * 3.6e6 * np.cos(np.radians(DEC))
    assert 3.0 < np.std(north_mas) < 5.0
    assert 3.0 < np.std(east_mas) < 5.0
    bright = stars["mag"][j, 2] < 20
    magnitude = 31.4 - 2.5 * np.log10(reference["r_flux"][i][bright])
    assert 0.002 < np.std(magnitude - stars["mag"][j, 2][bright]) < 0.009


def test_reference_stars_do_not_depend_on_the_circle(sky: SkyCatalogue) -> None:
    small, large = (reference_stars(sky, RA, DEC, radius, seed=3) for radius in (0.05, 0.1))
    _, i, j = np.intersect1d(small["id"], large["id"], return_indices=True)
    assert len(i) == len(small)
    assert np.array_equal(small["ra"][i], large["ra"][j])
