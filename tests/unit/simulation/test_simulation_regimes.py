from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from prompt_processing.simulation.blemishes import bleed
from prompt_processing.simulation.regime_pair import RegimePair, SimulatedFrame, simulate_regime
from prompt_processing.simulation.regimes import REGIMES

SHAPE = (220, 260)


def pair_of(name: str, seed: int = 5) -> RegimePair:
    return simulate_regime(REGIMES[name], seed, SHAPE)


def light_at(frame: SimulatedFrame, x: float, y: float, reach: int = 5) -> float:
    """Sum around a place, less the median of the surroundings, counts."""
    column, row = round(x), round(y)
    image = frame.pixels.astype(float)
    box = image[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    around = image[max(row - 20, 0) : row + 21, max(column - 20, 0) : column + 21]
    return float(np.sum(box - np.median(around)))


@pytest.mark.parametrize("name", REGIMES)
def test_every_regime_has_changes(name: str) -> None:
    pair = pair_of(name)
    changes = pair.truth[pair.truth["kind"] != "colour"]
    assert len(changes) >= (1 if name == "oversampled" else 4)
    assert np.all(changes["snr"] > 0)
    assert pair.science.pixels.shape == SHAPE
    assert np.isfinite(pair.template.pixels.astype(float)).all()


@pytest.mark.parametrize("name", ["plain", "rotated", "another camera"])
def test_template_shows_a_star_where_the_headers_say(name: str) -> None:
    pair = pair_of(name)
    here, there = WCS(pair.science.header), WCS(pair.template.header)
    stars = pair.truth[np.isin(pair.truth["kind"], ["variable", "colour"])]
    star = stars[np.argmax(stars["snr"])]
    x, y = np.ravel(there.all_world2pix(*here.all_pix2world(star["x"], star["y"], 0), 0))
    box = pair.template.pixels[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5]
    peak_y, peak_x = np.unravel_index(np.argmax(box), box.shape)
    assert np.hypot(peak_y - 4 - (y - round(y)), peak_x - 4 - (x - round(x))) < 1


def test_mirrored_template_is_one() -> None:
    pair = pair_of("mirrored")
    assert "CTYPE1" not in pair.science.header
    height = SHAPE[0]
    star = pair.stars[0]
    offset = (np.array(pair.template.pixels.shape) - SHAPE) / 2
    dx, dy = REGIMES["mirrored"].shift
    # Turned by 180 degrees and mirrored along x: only the rows run backwards.
    x, y = star["x"] - dx + offset[1], height - 1 - star["y"] + dy + offset[0]
    assert light_at(pair.template, x, y) > 0.5 * light_at(pair.science, star["x"], star["y"])


def test_new_sources_add_their_flux_to_one_image() -> None:
    pair = pair_of("plain")
    new = pair.truth[(pair.truth["kind"] == "transient") & (pair.truth["snr"] > 60) & pair.truth["clear"]]
    assert len(new) > 0
    here, there = WCS(pair.science.header), WCS(pair.template.header)
    for source in new:
        x, y = np.ravel(there.all_world2pix(*here.all_pix2world(source["x"], source["y"], 0), 0))
        change = light_at(pair.science, source["x"], source["y"]) - 0.5 * light_at(pair.template, x, y)
        assert change == pytest.approx(source["flux"], rel=0.35)


def test_same_seed_gives_the_same_pair() -> None:
    first, second = pair_of("hot pixels"), pair_of("hot pixels")
    np.testing.assert_array_equal(first.science.pixels, second.science.pixels)
    assert not np.array_equal(pair_of("hot pixels", 6).science.pixels, first.science.pixels)


def test_files_hold_pixels_and_header(tmp_path: Path) -> None:
    pair = pair_of("pedestal")
    science, _ = pair.write(tmp_path)
    with fits.open(science) as opened:
        assert opened[0].data.dtype == np.uint16
        assert np.median(opened[0].data) > REGIMES["pedestal"].science.pedestal
        assert "GAIN" not in opened[0].header


def test_guiding_error_widens_the_seeing() -> None:
    assert pair_of("trailed").science.fwhm > 1.3 * REGIMES["trailed"].science.fwhm
    assert pair_of("oversampled").science.fwhm == pytest.approx(20.5, rel=0.03)


def test_bleeding_keeps_the_charge_within_the_column() -> None:
    image = np.full((60, 5), 10.0, np.float32)
    image[30, 2] = 1000.0
    image[31, 2] = 300.0
    before = image.sum()
    saturated = bleed(image, 100.0)
    assert image.max() <= 100.0
    assert image.sum() == pytest.approx(before)
    assert np.flatnonzero(saturated.any(axis=0)).tolist() == [2]
    rows = np.flatnonzero(saturated[:, 2])
    assert abs((rows.min() + rows.max()) / 2 - 30.5) <= 1
