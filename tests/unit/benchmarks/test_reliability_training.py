from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table, vstack
from chain.scenes import REGIMES as PLAIN_REGIMES
from chain.scenes import make_scene
from dia_field import DiaField
from real.sets import listed_sets
from reliability.cli import families, features_by_pair
from reliability.fit import SHARES, balanced_weights, fit_model, score_with
from reliability.injection import inject
from reliability.labels import REAL, SPURIOUS, matches, sources_of_plain_scene
from reliability.ready_pair import ReadyPair
from reliability.report import area_under_curve, calibration_error

from prompt_processing.difference.prepare import PreparedImage
from prompt_processing.difference.register import Registration
from prompt_processing.images import Exposure, Mask
from prompt_processing.imaging.measurement.reliability import FEATURES, features

STARS = ((60.0, 70.0), (200.0, 220.0), (90.0, 200.0), (210.0, 80.0), (140.0, 140.0))


def with_stars(exposure: Exposure, flux: float = 30_000.0) -> Exposure:
    assert exposure.psf is not None
    for x, y in STARS:
        stamp, x0, y0 = exposure.psf.stamp_at(x, y)
        exposure.image[y0 : y0 + len(stamp), x0 : x0 + len(stamp)] += (flux * stamp).astype(np.float32)
    return exposure


@pytest.fixture
def ready() -> ReadyPair:
    field = DiaField()
    science, template = with_stars(field.exposure(1)), with_stars(field.exposure(2))
    stars = Table(rows=STARS, names=("x", "y"))
    stars["snr"], stars["psfFlux"], stars["clean"] = 400.0, 30_000.0, True
    psf = science.psf
    assert psf is not None
    fwhm = float(psf.fwhm_at(psf.x_centre, psf.y_centre))
    prepared = PreparedImage("science", science, stars, 0.0, 1.0, fwhm, None, len(stars), 0)
    return ReadyPair(prepared, Registration(template, 0.0, 0.1, len(stars), 1.0, False, 1.0, stars), True)


def test_injected_sources_change_one_image_where_they_say(ready: ReadyPair) -> None:
    injected = inject(ready, np.random.default_rng(3))
    assert {-1.0, 1.0} <= set(injected.sign)
    changes = {
        1.0: injected.science.image - ready.science.exposure.image,
        -1.0: injected.template.image - ready.registration.template.image,
    }
    for x, y, sign in zip(injected.x, injected.y, injected.sign, strict=True):
        box = (slice(round(y) - 2, round(y) + 3), slice(round(x) - 2, round(x) + 3))
        assert changes[sign][box].sum() > 0
        assert changes[-sign][box].sum() == 0


def test_nothing_is_injected_on_unusable_pixels(ready: ReadyPair) -> None:
    ready.science.exposure.mask[:] |= int(Mask.BAD)
    assert len(inject(ready, np.random.default_rng(3)).x) == 0


def test_sets_are_read_with_their_changes(tmp_path: Path) -> None:
    (tmp_path / "bulge").mkdir()
    (tmp_path / "bulge/pairs.yaml").write_text(
        "changes:\n  - {ra: 10.0, dec: 20.0}\n"
        "pairs:\n  - {science: 'b.fits[SCI]', template: a.fits, changes: [{x: 3, y: 4}]}\n"
    )
    ((name, pairs),) = listed_sets(tmp_path).items()
    assert name == "bulge"
    assert pairs[0].science == str(tmp_path / "bulge/b.fits[SCI]")
    assert pairs[0].changes == [{"ra": 10.0, "dec": 20.0}, {"x": 3, "y": 4}]


def test_a_source_of_the_other_sign_is_no_match() -> None:
    sources = Table({"x": [10.0, 10.0, 30.0], "y": [10.0, 10.0, 10.0], "psfFlux": [5.0, -5.0, 5.0]})
    found = matches(sources, np.array([11.0]), np.array([10.0]), np.array([1.0]), 3.0)
    assert found.tolist() == [True, False, False]


def test_model_separates_what_differs_and_is_undecided_about_what_does_not() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, (1200, len(FEATURES)))
    real = np.arange(1200) < 200
    unseen = score_with(fit_model(values, real), rng.normal(0, 1, (1000, len(FEATURES))))
    assert unseen.mean() == pytest.approx(0.75, abs=0.15)
    # A ring around the others, which no straight line separates.
    values[:, :2] = rng.normal(0, 0.3, (1200, 2))
    angle = rng.uniform(0, 2 * np.pi, 200)
    values[real, :2] += 2 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    scores = score_with(fit_model(values, real), values)
    assert area_under_curve(scores, real) > 0.98


def test_area_under_curve_counts_ties_half() -> None:
    real = np.array([True, True, False, False])
    assert area_under_curve(np.array([0.9, 0.8, 0.1, 0.2]), real) == 1.0
    assert area_under_curve(np.full(4, 0.5), real) == 0.5


def test_calibration_error_is_that_of_three_real_sources_per_spurious_one() -> None:
    # Nine spurious sources for each real one; in the score's terms there is one for three real ones.
    real = np.arange(1000) % 10 == 0
    assert calibration_error(np.full(1000, 0.75), real) == pytest.approx(0)
    assert calibration_error(np.full(1000, 0.9), real) == pytest.approx(0.9 - 0.75)


def test_each_family_of_pairs_has_its_share_of_the_weight_however_many_sources_it_has() -> None:
    family = np.repeat(["real", "regime", "plain"], [100, 300, 600])
    real = np.arange(1000) % 3 > 0
    weight = balanced_weights(real, family)
    assert weight.sum() == pytest.approx(1)
    assert weight[real].sum() == pytest.approx(0.75)
    for name, (of_real, of_spurious) in SHARES.items():
        assert weight[real & (family == name)].sum() == pytest.approx(0.75 * of_real)
        assert weight[~real & (family == name)].sum() == pytest.approx(0.25 * of_spurious)


def test_families_that_are_missing_leave_their_weight_to_the_others() -> None:
    family, real = np.repeat(["regime", "plain"], 50), np.arange(100) % 2 == 0
    weight = balanced_weights(real, family)
    assert weight[real].sum() == pytest.approx(0.75)
    shares = SHARES["regime"][0], SHARES["plain"][0]
    found = weight[real & (family == "regime")].sum() / weight[real & (family == "plain")].sum()
    assert found == pytest.approx(shares[0] / shares[1])


def test_scenes_of_any_seeing_count_as_plain() -> None:
    groups = np.array(["scenes", "plain: galaxies", "regime: halos", "real: bulge"])
    assert families(groups).tolist() == ["plain", "plain", "regime", "real"]


def test_sources_of_a_plain_scene_are_labelled_by_its_truth(tmp_path: Path) -> None:
    scene = make_scene(PLAIN_REGIMES["typical"], 11, (400, 400), tmp_path)
    sources, labels = sources_of_plain_scene(scene)
    truth = scene.truth
    bright = truth[(np.asarray(truth["snr"]) > 20) & np.asarray(truth["clear"], bool)]
    bright = bright[np.asarray(bright["kind"]) == "transient"]
    real = sources[labels == REAL]
    assert len(bright) > 10
    near = [np.hypot(real["x"] - row["x"], real["y"] - row["y"]).min() < 4 for row in bright]
    assert np.mean(near) > 0.9
    assert set(labels) <= {SPURIOUS, REAL}


def test_features_of_a_pair_do_not_depend_on_the_pairs_beside_it() -> None:
    sharp = Table({"set": ["a"] * 2, "seed": [1, 1], "snr": [9.0, 20.0], "psfNdata": [49.0, 45.0]})
    blurred = Table({"set": ["a"] * 2, "seed": [2, 2], "snr": [9.0, 20.0], "psfNdata": [400.0, 390.0]})
    together = features_by_pair(vstack([sharp, blurred]))
    assert together.tolist() == [*features(sharp).tolist(), *features(blurred).tolist()]
