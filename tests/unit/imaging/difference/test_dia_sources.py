"""What detection, measurement, filters and reliability must find."""

from dataclasses import replace

import numpy as np
import pytest

from prompt_processing.images import Exposure, Mask, Psf
from prompt_processing.imaging.errors import UnusableModelError
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.dia_detection import detect_dia_sources
from prompt_processing.imaging.measurement.dia_filters import filter_dia_sources
from prompt_processing.imaging.measurement.reliability import ReliabilityModel
from prompt_processing.imaging.psf_flux import forced_psf_flux
from prompt_processing.tasks.compute_reliability import ComputeReliabilityTask
from prompt_processing.tasks.detect_and_measure import DetectAndMeasureDiaSourceTask
from prompt_processing.tasks.filter_dia_source import FilterDiaSourceTask

SIGMA = 1.7
NOISE_OF_A_POINT_SOURCE = np.sqrt(4 * np.pi) * SIGMA
"""Standard error of a PSF flux where the pixels' variance is 1."""


def measured(exposure, template=None):
    """Measure a difference from a template, which is blank by default."""
    matched = Exposure.blank(exposure.shape, wcs=exposure.wcs, psf=exposure.psf)
    matched.variance[:] = 1
    if template is not None:
        matched.image[:] = template.image
    science = replace(exposure, image=exposure.image + matched.image)
    return detect_and_measure(exposure, science, matched)


def test_pure_noise_has_hardly_a_source(star_image):
    peaks = detect_dia_sources(star_image((1000, 1000), [], seed=4))
    assert len(peaks) <= 1


def test_sources_of_both_signs_are_found(star_image):
    image = star_image((200, 200), [(60.2, 50.7, 90.0), (130.5, 140.1, -90.0)], seed=2)
    sources = measured(image)
    assert len(sources) == 2
    assert sorted(sources["isNegative"]) == [False, True]
    up = sources[~sources["isNegative"]][0]
    assert np.hypot(up["x"] - 60.2, up["y"] - 50.7) < 4 * np.hypot(up["xErr"], up["yErr"])
    assert (image.mask[141, 130] & int(Mask.DETECTED_NEGATIVE)) != 0


def test_significance_is_flux_over_its_error(star_image):
    flux = 30 * NOISE_OF_A_POINT_SOURCE
    stars = [(40.0 + 45 * i, 40.0 + 45 * j, flux) for i in range(8) for j in range(8)]
    sources = measured(star_image((400, 400), stars, seed=6))
    assert len(sources) == 64
    assert np.median(sources["snr"]) == pytest.approx(30, abs=1)
    assert np.median(sources["psfFluxErr"]) == pytest.approx(NOISE_OF_A_POINT_SOURCE, rel=0.02)
    index = [
        int(np.argmin(np.hypot(np.asarray(sources["x"]) - x, np.asarray(sources["y"]) - y)))
        for x, y, _ in stars
    ]
    truth_x = np.array([x for x, _, _ in stars])
    pull = (np.asarray(sources["x"])[index] - truth_x) / np.asarray(sources["xErr"])[index]
    assert 0.75 < np.std(pull) < 1.3
    pull = (np.asarray(sources["psfFlux"])[index] - flux) / np.asarray(sources["psfFluxErr"])[index]
    assert abs(np.mean(pull)) < 0.5
    assert 0.75 < np.std(pull) < 1.3
    assert np.median(sources["psfChi2"] / sources["psfNdata"]) == pytest.approx(1, abs=0.1)


def test_bright_source_has_no_satellites_and_its_neighbour_is_kept(star_image):
    stars = [(100.3, 100.6, 50_000.0), (112.0, 100.0, 500.0)]
    sources = measured(star_image((200, 200), stars, seed=3))
    assert len(sources) == 2


def test_star_that_changed_is_found_in_its_middle_although_the_match_errs_most_there(star_image):
    image = star_image((200, 200), [(60.2, 50.7, 20_000.0), (130.5, 140.1, -20_000.0)], seed=2)
    light = star_image((200, 200), [(60.2, 50.7, 60_000.0), (130.5, 140.1, 60_000.0)], seed=3).image
    image.variance += (0.05 * light) ** 2
    sources = measured(image)
    assert len(sources) == 2
    for x, y in ((60.2, 50.7), (130.5, 140.1)):
        assert np.min(np.hypot(np.asarray(sources["x"]) - x, np.asarray(sources["y"]) - y)) < 0.5


def test_dipole_is_recognised_and_a_point_source_is_not(star_image):
    stars = [(60.0, 60.0, 2000.0), (61.2, 60.5, -2000.0), (150.0, 150.0, 2000.0)]
    sources = measured(star_image((210, 210), stars, seed=5))
    near = np.hypot(np.asarray(sources["x"]) - 60.5, np.asarray(sources["y"]) - 60.2) < 5
    assert sources["isDipole"][near].any()
    assert not sources["isDipole"][~near].any()
    dipole = sources[near & np.asarray(sources["isDipole"])][0]
    assert abs(dipole["dipoleFluxDiff"]) < 5 * dipole["dipoleFluxDiffErr"] + 100


def test_trail_has_length_and_bearing(star_image):
    length, angle = 9.0, np.radians(30)
    steps = np.linspace(-0.5, 0.5, 40) * length
    points = [(100 + s * np.cos(angle), 90 + s * np.sin(angle), 100.0) for s in steps]
    sources = measured(star_image((200, 200), points, seed=7))
    assert len(sources) == 1
    trail = sources[0]
    assert trail["trailLength"] == pytest.approx(length * 0.2, abs=0.1)
    # North is up and east is left: a trail towards upper right bears 300 degrees, or 120.
    assert trail["trailAngle"] == pytest.approx(120, abs=3)
    assert trail["trailFlux"] == pytest.approx(4000, rel=0.03)
    kept, _ = filter_dia_sources(sources)
    assert len(kept) == 1


def test_cosmic_ray_is_rejected_with_its_reason(star_image):
    image = star_image((200, 200), [(60.0, 60.0, 1000.0)], seed=8)
    image.image[120, 100:104] += 200
    kept, rejected = filter_dia_sources(measured(image))
    assert len(kept) == 1
    assert list(rejected["reason"]) == ["unlike the PSF"]


@pytest.mark.parametrize("length", [0, 4])
def test_cosmic_rays_two_thirds_as_wide_as_stars_are_rejected(star_image, length):
    image = star_image((240, 240), [(60.0, 60.0, 180.0), (60.0, 180.0, 300.0)], seed=8)
    for x, y, flux in ((180.0, 60.0, 150.0), (180.0, 180.0, 300.0)):
        track = [(x + step, y + 0.6 * step, flux / (length + 1)) for step in range(length + 1)]
        image.image += star_image((240, 240), track, sigma=1.1, noise=0.0).image
    kept, rejected = filter_dia_sources(measured(image))
    assert len(kept) == 2
    assert (np.asarray(kept["x"]) < 100).all()
    assert len(rejected) >= 2


def test_star_that_vanished_under_a_cosmic_ray_is_kept(star_image):
    image = star_image((200, 200), [(60.0, 60.0, -1000.0), (140.0, 140.0, 1000.0)], seed=8)
    for x, y in ((60, 60), (140, 140)):
        image.mask[y - 1 : y + 1, x - 2 : x + 1] |= int(Mask.CR)
    kept, rejected = filter_dia_sources(measured(image))
    assert list(kept["isNegative"]) == [True]
    assert list(rejected["reason"]) == ["cosmic ray"]


@pytest.mark.parametrize(
    ("plane", "reason"),
    [(Mask.EDGE, "edge"), (Mask.CR, "cosmic ray"), (Mask.STREAK, "streak"), (Mask.SAT, "saturated")],
)
def test_flagged_source_is_rejected_with_its_reason(star_image, plane, reason):
    image = star_image((200, 200), [(100.0, 100.0, 3000.0)], seed=9)
    image.mask[98, 100:102] |= int(plane)
    image.mask[101, 100:102] |= int(plane)
    _, rejected = filter_dia_sources(measured(image))
    assert reason in list(rejected["reason"])


def test_faint_change_on_a_bright_star_is_rejected(star_image):
    image = star_image((200, 200), [(100.0, 100.0, 80.0)], seed=10)
    template = star_image((200, 200), [(100.0, 100.0, 30_000.0)], seed=11)
    sources = detect_and_measure(image, template, template)
    _, rejected = filter_dia_sources(sources)
    assert list(rejected["reason"]) == ["small change"]


def test_empty_difference_gives_an_empty_table_with_all_columns(star_image):
    empty = measured(star_image((100, 100), [], noise=1.0, seed=1))
    full = measured(star_image((100, 100), [(50.0, 50.0, 1000.0)], seed=1))
    assert len(empty) == 0
    assert empty.colnames == full.colnames
    assert all(empty[name].dtype == full[name].dtype for name in full.colnames)
    kept, rejected = filter_dia_sources(empty)
    assert len(ReliabilityModel.load().score(kept)) == len(rejected) == 0


def test_reliability_tells_a_star_from_a_spike(star_image):
    image = star_image((300, 300), [(60.0, 60.0, 1000.0), (200.0, 100.0, 400.0)], seed=12)
    image.image[220, 200] += 60
    sources = measured(image)
    score = ReliabilityModel.load().score(sources)
    assert ((score >= 0) & (score <= 1)).all()
    spike = np.hypot(np.asarray(sources["x"]) - 200, np.asarray(sources["y"]) - 220) < 2
    assert spike.sum() == 1
    assert score[spike][0] < score[~spike].min()


def test_tasks_hand_ids_from_one_to_the_next(star_image):
    image = star_image((200, 200), [(60.0, 60.0, 1000.0), (120.0, 140.0, -600.0)], seed=13)
    found = DetectAndMeasureDiaSourceTask().run(difference=image, science=image, matched=image)
    assert len(set(found.sources["diaSourceId"])) == 2
    filtered = FilterDiaSourceTask().run(sources=found.sources)
    scores = ComputeReliabilityTask().run(sources=filtered.kept).scores
    assert list(scores["diaSourceId"]) == list(filtered.kept["diaSourceId"])


def model_fields(**changed):
    model = ReliabilityModel.load()
    names = ("hidden_weights", "hidden_bias", "output_weights", "linear_weights", "mean", "scale")
    arrays = {name: getattr(model, name).tolist() for name in names}
    return {"version": model.version, "intercept": model.intercept, **arrays, **changed}


def test_model_from_the_repository_is_preferred(star_image):
    sources = measured(star_image((200, 200), [(60.0, 60.0, 1000.0)], seed=13))
    packaged = ComputeReliabilityTask().run(sources=sources).scores
    same = ComputeReliabilityTask().run(sources=sources, model=model_fields()).scores
    assert (same["score"] == packaged["score"]).all()
    sceptic = ComputeReliabilityTask().run(
        sources=sources, model=model_fields(version="site-7", intercept=-100.0)
    )
    assert sceptic.scores["version"].tolist() == ["site-7"]
    assert sceptic.scores["score"][0] < 1e-6


@pytest.mark.parametrize(
    "changed",
    [
        {"linear_weights": [1.0]},
        {"mean": "x"},
        {"intercept": None},
        {"scale": []},
        {"features": ["snr"]},
        {"version": "too-long"},
    ],
)
def test_model_for_other_features_is_refused(star_image, changed):
    sources = measured(star_image((200, 200), [(60.0, 60.0, 1000.0)], seed=13))
    with pytest.raises(UnusableModelError, match="reliability model"):
        ComputeReliabilityTask().run(sources=sources, model=model_fields(**changed))


def test_forced_flux_is_unbiased_and_off_image_is_nan(star_image):
    image = star_image((100, 120), [(30.4, 60.7, 5000.0)], seed=14)
    flux, err, flags = forced_psf_flux(image, [30.4, 90.0, -3.0, np.nan], [60.7, 20.0, 50.0, 1.0])
    assert flux[0] == pytest.approx(5000, abs=4 * err[0])
    assert abs(flux[1]) < 4 * err[1]
    assert np.isnan(flux[2:]).all()
    assert (flags[2:] == int(Mask.EDGE | Mask.NO_DATA)).all()


def test_forced_flux_needs_half_of_the_psf(star_image):
    image = star_image((100, 100), [(50.0, 50.0, 5000.0)], seed=15)
    image.mask[:, :49] |= int(Mask.BAD)
    assert np.isfinite(forced_psf_flux(image, 50.0, 50.0)[0][0])
    image.mask[:, :53] |= int(Mask.BAD)
    assert np.isnan(forced_psf_flux(image, 50.0, 50.0)[0][0])


def test_forced_flux_without_psf_is_an_error():
    with pytest.raises(ValueError, match="PSF"):
        forced_psf_flux(Exposure.blank((10, 10)), 5.0, 5.0)


def test_forced_flux_follows_a_varying_psf(star_image):
    image = star_image((100, 100), [], noise=0.0)
    base = image.psf.coefficients[0]
    image.psf = Psf(np.stack([base, 0.2 * np.roll(base, 1, 0), 0 * base]), 1, 50.0, 50.0, 50.0)
    stamp, x0, y0 = image.psf.stamp_at(80.3, 40.8)
    image.image[y0 : y0 + 31, x0 : x0 + 31] += (700 * stamp).astype(np.float32)[: 100 - y0, : 100 - x0]
    assert forced_psf_flux(image, 80.3, 40.8)[0][0] == pytest.approx(700, rel=1e-3)


def test_bright_sources_of_either_sign_are_reliable_though_the_psf_is_not_perfect(star_image):
    flux = 120 * NOISE_OF_A_POINT_SOURCE
    image = star_image((200, 200), [(60.0, 60.0, flux), (140.0, 140.0, -flux)], sigma=1.05 * SIGMA, seed=9)
    template = star_image((200, 200), [(140.0, 140.0, flux)], sigma=1.05 * SIGMA, noise=0)
    image.psf = star_image((50, 50), [], sigma=SIGMA).psf
    sources = measured(image, template)
    kept, _ = filter_dia_sources(sources)
    assert len(kept) == 2
    assert np.median(kept["psfChi2"] / kept["psfNdata"]) > 1.1
    assert ReliabilityModel.load().score(kept) == pytest.approx(1, abs=0.2)


def test_a_faint_star_that_vanished_is_more_reliable_than_a_dark_place_where_none_was(star_image):
    flux = 7 * NOISE_OF_A_POINT_SOURCE
    image = star_image((200, 200), [(60.0, 60.0, -flux), (140.0, 140.0, -flux)], seed=9)
    template = star_image((200, 200), [(60.0, 60.0, flux)], noise=0)
    sources = measured(image, template)
    vanished = np.asarray(sources["x"]) < 100
    assert list(np.sort(vanished)) == [False, True]
    score = ReliabilityModel.load().score(sources)
    assert score[~vanished][0] < 0.1 < score[vanished][0]


def test_units_do_not_change_the_reliability(star_image):
    stars = [(40.0 + 50 * i, 60.0, (8 + 20 * i) * NOISE_OF_A_POINT_SOURCE) for i in range(4)]
    scores = []
    for unit in (1.0, 1e-9):
        image = star_image((240, 240), stars, seed=10)
        image.image *= np.float32(unit)
        image.variance *= np.float32(unit**2)
        scores.append(ReliabilityModel.load().score(measured(image)))
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


@pytest.mark.parametrize(("excess", "reason"), [(1.7, ""), (4.0, "sharper than the PSF")])
def test_narrow_sources_are_rejected_only_if_noise_does_not_explain_their_misfit(star_image, excess, reason):
    sources = measured(star_image((100, 100), [(50.0, 50.0, 16 * NOISE_OF_A_POINT_SOURCE)], seed=3))
    for name in ("ixx", "iyy"):
        sources[name] = 0.5 * sources[f"{name}PSF"]
    sources["ixy"] = 0.0
    sources["psfNdata"] = 361
    noise = np.sqrt(2 * 361)
    sources["psfChi2"] = 361 + excess * noise
    sources["misfit"] = excess * noise / sources["pixelSnr"] ** 2
    assert sources["misfit"][0] > 0.12
    kept, rejected = filter_dia_sources(sources)
    assert len(kept) == (not reason)
    assert list(rejected["reason"]) == [reason] * bool(reason)
