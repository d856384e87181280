"""A tile shows the same pixels as the whole image, from few bytes and in limited memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bokeh.models import Range1d
from small_exposure import an_exposure

from prompt_processing.images import Mask
from prompt_processing.images.fits import read_exposure, write_exposure
from prompt_processing.images.layout.sections import ImageSections
from prompt_processing.navigator.detector.panels import Overlays, add_overlays, image_figure, mask_colours
from prompt_processing.navigator.detector.pixels import ArrayCache, Region, TiledImage, binned
from prompt_processing.navigator.detector.stretch import CURVES, SCALES, Curve, Scale, greys, limits

SHAPE = (530, 410)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "e.fits"
    exposure = an_exposure(SHAPE)
    exposure.mask[300, 200] |= Mask.SAT
    write_exposure(path, exposure)
    return path


@pytest.fixture
def image(path: Path) -> TiledImage:
    return TiledImage("e", ImageSections(lambda: path.open("rb")), ArrayCache(10_000_000))


@pytest.mark.parametrize(
    "region",
    [
        Region(10, 200, 20, 190),
        Region(-50, 60.2, 120.4, 300),
        Region(100, 100, 100, 100),
        Region(300, 900, 400, 900),
    ],
)
def test_tile_at_full_resolution_equals_the_cut_of_the_whole_image(
    image: TiledImage, path: Path, region: Region
) -> None:
    tile = image.tile(region, 1000)
    assert tile.binning == 1
    x, y = round(tile.x + 0.5), round(tile.y + 0.5)
    rows, columns = tile.values.shape
    assert (tile.width, tile.height) == (columns, rows)
    whole = read_exposure(path).image
    np.testing.assert_array_equal(tile.values, whole[y : y + rows, x : x + columns])
    # It covers what is in view.
    assert tile.x <= max(region.x_min, 0)
    assert tile.x + tile.width >= min(region.x_max, SHAPE[1] - 1)


@pytest.mark.parametrize(("most", "binning"), [(300, 2), (140, 4), (70, 8)])
def test_binned_tile_has_the_means_of_the_whole_image(
    image: TiledImage, path: Path, most: int, binning: int
) -> None:
    tile = image.tile(Region(0, SHAPE[1], 0, SHAPE[0]), most)
    assert tile.binning == binning
    whole = read_exposure(path).image
    corner = whole[8 : 8 + binning, 16 : 16 + binning]
    assert tile.values[8 // binning, 16 // binning] == pytest.approx(np.nanmean(corner), rel=1e-5)
    assert max(tile.values.shape) <= most
    assert np.isfinite(tile.values).all()


def test_binned_mask_keeps_single_pixels(image: TiledImage) -> None:
    bits = image.tile(Region(0, SHAPE[1], 0, SHAPE[0]), 70, "MASK")
    assert bits.values[300 // 8, 200 // 8] & Mask.SAT
    colours = mask_colours(bits.values, ("CR", "SAT", "<unknown>"))
    assert colours[300 // 8, 200 // 8] != 0
    assert (colours != 0).sum() == 1


def test_neighbouring_tiles_match(image: TiledImage) -> None:
    left = image.tile(Region(0, 203, 0, 400), 200)
    right = image.tile(Region(101, 303, 0, 400), 200)
    shift = round((right.x - left.x) / left.binning)
    np.testing.assert_array_equal(
        left.values[:, shift:], right.values[: left.values.shape[0], : left.values.shape[1] - shift]
    )


def test_cache_stays_within_its_limit(path: Path) -> None:
    cache = ArrayCache(600_000)
    image = TiledImage("e", ImageSections(lambda: path.open("rb")), cache)
    for y in range(0, SHAPE[0], 60):
        image.tile(Region(0, SHAPE[1], y, y + 50), 1000)
        assert cache.size <= 600_000


def test_second_look_reads_nothing(path: Path) -> None:
    opened = []

    def open_file():  # type: ignore[no-untyped-def]
        opened.append(1)
        return path.open("rb")

    image = TiledImage("e", ImageSections(open_file), ArrayCache(10_000_000))
    image.tile(Region(0, 300, 0, 300), 1000)
    before = len(opened)
    image.tile(Region(50, 350, 10, 290), 1000)
    assert len(opened) == before


def test_binning_of_an_edge_counts_only_what_is_there() -> None:
    image = np.arange(15, dtype=np.float32).reshape(3, 5)
    np.testing.assert_allclose(binned(image, 2), [[3, 5, 6.5], [10.5, 12.5, 14]])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("symmetric", [False, True])
def test_limits_are_an_interval_whatever_the_pixels(scale: Scale, symmetric: bool) -> None:
    rng = np.random.default_rng(1)
    for values in (
        rng.normal(0, 1, (50, 50)),
        np.full((4, 4), np.nan),
        np.zeros((9, 9)),
        np.array([[np.inf, 1.0], [2.0, np.nan]]),
    ):
        low, high = limits(values, scale, symmetric=symmetric)
        assert np.isfinite([low, high]).all()
        assert low < high


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("symmetric", [False, True])
def test_greys_rise_from_black_to_white(curve: Curve, symmetric: bool) -> None:
    shades = [int(colour[1:3], 16) for colour in greys(curve, symmetric=symmetric)]
    assert shades == sorted(shades)
    assert (shades[0], shades[-1]) == (0, 255)


def test_selected_source_is_not_drawn_in_the_colour_of_a_bright_star() -> None:
    made = image_figure("one", Range1d(0, 1), Range1d(0, 1))
    add_overlays(made, Overlays())
    (drawn,) = [one for one in made.renderers if one.name == "dia-sources"]
    assert drawn.selection_glyph.line_color != "#ffffff"
    assert drawn.selection_glyph.size > drawn.glyph.size
