import numpy as np
import pandas as pd
import pytest

from prompt_processing.demo.score import (
    magnitude,
    magnitude_histogram,
    match_positions,
    score_stars,
    score_transients,
)

ARCSEC = 1 / 3600


def truth(n: int = 3, **columns: object) -> pd.DataFrame:
    """Transients a minute of arc apart, all bright and clear."""
    return pd.DataFrame(
        {
            "id": np.arange(n),
            "kind": "transient",
            "ra": 150 + np.arange(n) / 60,
            "dec": 60.0,
            "flux": 1e4,
            "delta_flux": 1e4,
            "snr": 20.0,
            "clear": True,
        }
        | columns
    )


def found(catalogue: pd.DataFrame, **columns: object) -> pd.DataFrame:
    """DiaSources exactly where they should be."""
    return pd.DataFrame(
        {
            "diaSourceId": np.arange(len(catalogue)) + 100,
            "ra": catalogue["ra"],
            "dec": catalogue["dec"],
            "snr": catalogue["snr"],
            "extendedness": 0.0,
        }
        | columns
    )


def test_everything_in_place_is_recovered() -> None:
    score = score_transients(truth(), found(truth()))
    assert (score.n_expected, score.n_recovered, score.n_spurious) == (3, 3, 0)
    assert list(score.injected["diaSourceId"]) == [100, 101, 102]


@pytest.mark.parametrize(
    ("offset_arcsec", "fwhm_arcsec", "recovered"),
    [(0.45, 1.0, 3), (0.55, 1.0, 0), (0.85, 3.0, 3), (0.95, 3.0, 0)],
)
def test_half_an_arcsecond_decides_or_five_sigma_in_wide_seeing(
    offset_arcsec: float, fwhm_arcsec: float, recovered: int
) -> None:
    # East at declination 60 degrees: an arcsecond is two of right ascension.
    catalogue = truth()
    moved = found(catalogue, ra=catalogue["ra"] + offset_arcsec * 2 * ARCSEC)
    score = score_transients(catalogue, moved, fwhm_arcsec)
    assert score.n_recovered == recovered
    assert score.n_spurious == 3 - recovered


def test_each_source_is_matched_once() -> None:
    catalogue = truth(1)
    twice = pd.concat([found(catalogue), found(catalogue, dec=60 + 0.1 * ARCSEC, diaSourceId=[7])])
    score = score_transients(catalogue, twice)
    assert (score.n_recovered, score.n_spurious) == (1, 1)
    assert score.injected["diaSourceId"].tolist() == [100]


def test_faint_detections_of_nothing_are_not_counted_as_spurious() -> None:
    nothing = truth(2, snr=0.0)
    score = score_transients(nothing, found(truth(2), snr=[9.0, 11.0]))
    assert (score.n_expected, score.n_spurious, score.n_above) == (0, 1, 1)


def test_detection_of_a_constant_star_is_spurious() -> None:
    stars = truth(2, kind="star", snr=0.0, delta_flux=0.0)
    assert score_transients(stars, found(truth(2))).n_spurious == 2


def test_negative_changes_count_like_positive_ones() -> None:
    faded = truth(1, kind="variable", snr=-15.0, delta_flux=-1e4)
    score = score_transients(faded, found(faded, snr=-15.0))
    assert (score.n_expected, score.n_recovered) == (1, 1)


def test_sources_on_unusable_pixels_are_not_expected() -> None:
    score = score_transients(truth(3, clear=[True, False, True]), found(truth(3)))
    assert (score.n_expected, score.n_recovered, score.n_spurious) == (2, 2, 0)


def test_empty_catalogues_score_nothing() -> None:
    empty = truth(0)
    assert score_transients(truth(), found(empty)).n_recovered == 0
    assert score_transients(empty, found(truth())).n_spurious == 3
    assert score_stars(truth(), found(empty, psfFlux=1.0)).n_stars == 0


def test_right_ascension_wraps() -> None:
    index, other, separation = match_positions(
        np.array([359.99999]), np.array([0.0]), np.array([0.00001]), np.array([0.0]), 0.5
    )
    assert (list(index), list(other)) == ([0], [0])
    assert separation[0] == pytest.approx(0.072, abs=1e-6)


def test_closest_pair_wins() -> None:
    index, other, _ = match_positions(
        np.array([10.0, 10.0]), np.array([0.0, 0.3 * ARCSEC]), np.array([10.0]), np.array([0.2 * ARCSEC]), 0.5
    )
    assert (list(index), list(other)) == ([1], [0])


def test_astrometry_is_the_scatter_along_one_axis() -> None:
    rng = np.random.default_rng(1)
    stars = truth(2000, kind="star", ra=150 + np.arange(2000) / 600)
    measured = found(
        stars,
        snr=100.0,
        psfFlux=1e4,
        ra=stars["ra"] + rng.normal(0, 0.02, 2000) * ARCSEC * 2,
        dec=stars["dec"] + rng.normal(0, 0.02, 2000) * ARCSEC,
    )
    assert score_stars(stars, measured).astrometry_mas == pytest.approx(20, rel=0.05)


def test_zero_point_error_is_measured_minus_true_magnitude() -> None:
    stars = truth(5, kind="star")
    assert score_stars(
        stars, found(stars, snr=100.0, psfFlux=1e4 * 10**-0.004)
    ).zero_point_error == pytest.approx(0.01)


def test_flagged_and_faint_stars_are_left_out() -> None:
    stars = truth(4, kind="star")
    measured = found(
        stars, psfFlux=1e4, snr=[100, 100, 20, 100], saturated=[True, False, False, False], psf_used=True
    )
    assert score_stars(stars, measured).n_stars == 2


def test_faint_star_in_the_light_of_a_galaxy_is_not_what_was_measured() -> None:
    stars = truth(3, kind="star", flux=[1e4, 1e4, 2e3])
    measured = found(stars, psfFlux=1e4, snr=100.0, dec=60 + np.array([0.0, 0.0, 0.48]) * ARCSEC)
    score = score_stars(stars, measured)
    assert score.n_stars == 2
    assert score.astrometry_mas == pytest.approx(0, abs=1e-3)


def test_blend_that_is_wider_than_a_star_tells_no_position() -> None:
    stars = truth(3, kind="star")
    measured = found(
        stars, psfFlux=1e4, snr=100.0, dec=60 + np.array([0, 0, 0.4]) * ARCSEC, extendedness=[0, 0, 1.0]
    )
    score = score_stars(stars, measured)
    assert score.n_stars == 2
    assert score.astrometry_mas == pytest.approx(0, abs=1e-3)


def test_magnitudes_are_ab() -> None:
    assert magnitude(np.array([3631e9, -1.0])) == pytest.approx([0.0, 31.4], abs=1e-3)


def test_histogram_counts_each_source_once() -> None:
    injected = score_transients(truth(3, delta_flux=[1e4, 1e3, 1e3]), found(truth(2))).injected
    histogram = magnitude_histogram(injected)
    assert histogram["injected"].sum() == 3
    assert histogram["recovered"].sum() == 2
    assert list(histogram["mag"]) == sorted(histogram["mag"])


def blend(separation_arcsec: float = 0.6, **columns: object) -> pd.DataFrame:
    """Two transients beside each other in declination, and one far away."""
    return truth(
        3, ra=[150.0, 150.0, 150.1], dec=60 + np.array([0, separation_arcsec, 0]) * ARCSEC, **columns
    )


def test_two_sources_closer_than_the_seeing_count_as_one() -> None:
    sky = blend()
    one_detection = found(sky).drop(1)
    assert score_transients(sky, one_detection, fwhm_arcsec=0.5).n_expected == 3
    score = score_transients(sky, one_detection, fwhm_arcsec=0.8)
    assert (score.n_expected, score.n_recovered, len(score.missed)) == (2, 2, 0)


def test_detection_between_two_unresolved_sources_recovers_them() -> None:
    sky = blend(1.1)
    between = found(sky, dec=60 + np.array([0.55, 0, 0]) * ARCSEC).drop(1)
    assert score_transients(sky, between, fwhm_arcsec=1.0).n_spurious == 1
    score = score_transients(sky, between, fwhm_arcsec=1.4)
    assert (score.n_expected, score.n_recovered, score.n_spurious) == (2, 2, 0)


def test_two_unresolved_sources_without_a_detection_are_missed_once() -> None:
    score = score_transients(blend(), found(truth(0)), fwhm_arcsec=0.8)
    assert (score.n_expected, len(score.missed)) == (2, 2)


def test_detection_of_the_fainter_of_two_unresolved_sources_is_that_of_both() -> None:
    sky = blend(snr=[20.0, 8.0, 20.0])
    score = score_transients(sky, found(sky).drop(0), fwhm_arcsec=0.8)
    assert (score.n_expected, score.n_recovered) == (2, 2)
    assert score.expected["diaSourceId"].tolist() == [101, 102]
