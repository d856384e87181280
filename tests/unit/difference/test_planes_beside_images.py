"""Masks, quality bits, variances and weights are read for what they mean, from the image's file or others."""

import numpy as np
import pytest
from astropy.io import fits

from prompt_processing.difference.errors import UnreadableImageError
from prompt_processing.difference.prepare import prepare
from prompt_processing.difference.reading.read import ReadOptions, open_image
from prompt_processing.images import Mask

SHAPE = (120, 130)
NOISE = 10.0


def sky(seed=1, noise=NOISE):
    return np.random.default_rng(seed).normal(300, noise, SHAPE).astype(np.float32)


def write(path, planes, header=None, image=None):
    data = sky() if image is None else image
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(data, header, "SCI")]
    hdus += [fits.ImageHDU(values, name=name) for name, values in planes.items()]
    fits.HDUList(hdus).writeto(path / "a.fits", overwrite=True)
    return path / "a.fits"


def spots(values):
    """Return a quality plane of zeros with one pixel for each value, and where they are."""
    plane = np.zeros(SHAPE, np.int32)
    places = [(10 + 3 * i, 20) for i in range(len(values))]
    for place, value in zip(places, values, strict=True):
        plane[place] = value
    return plane, places


@pytest.mark.parametrize("name", ["BPM", "DQ", "MASK", "FLAGS"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_masks_of_every_name_and_type_are_used(tmp_path, name, kind):
    bad = np.zeros(SHAPE, kind)
    bad[5:9, 7] = 1
    exposure = open_image(write(tmp_path, {name: bad})).exposure
    assert np.array_equal(exposure.has(Mask.BAD), bad != 0)


@pytest.mark.parametrize(
    ("header", "bad", "saturated", "good"),
    [
        ({"TELESCOP": "JWST"}, [1, 5], [], [2, 4, 64]),
        ({"TELESCOP": "HST"}, [4, 16, 4096], [256], [32, 64, 1024]),
        ({"INSTRUME": "ZTF/MOSAIC"}, [1, 4, 512], [256], [2]),
        ({"TELESCOP": "other"}, [1, 2, 64], [], []),
    ],
)
def test_quality_bits_mean_what_the_telescope_says(tmp_path, header, bad, saturated, good):
    plane, places = spots([*bad, *saturated, *good])
    exposure = open_image(write(tmp_path, {"DQ": plane}, fits.Header(header))).exposure
    flags = [Mask(int(exposure.mask[place])) for place in places]
    expected = [Mask.BAD] * len(bad) + [Mask.SAT] * len(saturated) + [Mask(0)] * len(good)
    assert flags == expected


def test_named_mask_values_of_pan_starrs_are_used(tmp_path):
    plane, places = spots([1, 32, 128, 4096])
    path = write(tmp_path, {"MASK": plane})
    with fits.open(path, mode="update") as hdus:
        for i, (name, value) in enumerate(
            {"DETECTOR": 1, "SAT": 32, "SUSPECT": 128, "STARCORE": 4096}.items()
        ):
            hdus["MASK"].header[f"MSKNAM{i:02d}"], hdus["MASK"].header[f"MSKVAL{i:02d}"] = name, value
    mask = open_image(path).exposure.mask
    assert [int(mask[place]) for place in places] == [int(Mask.BAD), int(Mask.SAT), 0, 0]


def test_bits_can_be_chosen_and_the_mask_ignored(tmp_path):
    plane, places = spots([1, 2, 4])
    path = write(tmp_path, {"DQ": plane})
    chosen = open_image(path, ReadOptions(mask_bits=5)).exposure.has(Mask.BAD)
    assert [bool(chosen[place]) for place in places] == [True, False, True]
    assert not open_image(path, ReadOptions(mask_bits=0)).exposure.mask.any()


def test_bit_on_many_pixels_like_all_others_is_information(tmp_path, caplog):
    rng = np.random.default_rng(4)
    plane = np.where(rng.uniform(size=SHAPE) < 0.3, 4, 0).astype(np.int32)
    plane[:, 5] |= 1
    exposure = open_image(write(tmp_path, {"DQ": plane})).exposure
    assert exposure.has(Mask.BAD)[:, 5].all()
    assert exposure.has(Mask.BAD).sum() == SHAPE[0]
    assert len(caplog.records) == 1
    assert "bit 4 is set on 30% of the pixels" in caplog.text
    assert "--mask-bits" in caplog.text


def test_mask_of_much_of_the_image_is_kept_and_reported(tmp_path, caplog):
    plane = np.zeros(SHAPE, np.int32)
    plane[:, :50] = 8
    assert open_image(write(tmp_path, {"DQ": plane})).exposure.has(Mask.BAD).sum() == 50 * SHAPE[0]
    assert "masks 38% of the pixels (bit 8 38%)" in caplog.text


def test_bits_on_pixels_unlike_the_others_stay_bad(tmp_path):
    hot = np.random.default_rng(4).uniform(size=SHAPE) < 0.2
    image = sky() + np.where(hot, 60, 0).astype(np.float32)
    exposure = open_image(write(tmp_path, {"DQ": hot.astype(np.int16)}, image=image)).exposure
    assert np.array_equal(exposure.has(Mask.BAD), hot)


@pytest.mark.parametrize(
    ("name", "power"),
    [("VAR", 2), ("VARIANCE", 2), ("ERR", 1), ("RMS", 1), ("IVAR", -2), ("WEIGHT", -2), ("WHT", -2)],
)
def test_planes_of_noise_are_what_their_names_say(tmp_path, name, power):
    noise = np.linspace(8, 12, SHAPE[1], dtype=np.float32) * np.ones(SHAPE, np.float32)
    opened = open_image(write(tmp_path, {name: noise**power}))
    assert opened.has_variance
    assert opened.exposure.variance == pytest.approx(noise**2, rel=1e-4)


def test_relative_weights_are_scaled_to_the_scatter_of_the_sky(tmp_path, caplog):
    weight = np.ones(SHAPE, np.float32)
    weight[:, :40] = 0.25
    weight[3, 3] = 0
    image = sky()
    image[:, :40] = 300 + 2 * (image[:, :40] - 300)
    variance = open_image(write(tmp_path, {"WEIGHT": weight}, image=image)).exposure.variance
    assert variance[50, 100] == pytest.approx(NOISE**2, rel=0.1)
    assert variance[50, 10] == pytest.approx(4 * variance[50, 100], rel=1e-5)
    assert variance[3, 3] == 0
    assert "weights are relative" in caplog.text


def test_the_best_plane_of_noise_is_taken(tmp_path):
    planes = {"WHT": np.full(SHAPE, 7.0, np.float32), "ERR": np.full(SHAPE, 9.0, np.float32)}
    assert open_image(write(tmp_path, planes)).exposure.variance[0, 0] == 81


def test_planes_of_a_detector_go_with_its_image(tmp_path):
    hdus = [fits.PrimaryHDU()]
    for detector, error in (("DET1", 9.0), ("DET2", 11.0)):
        hdus += [
            fits.ImageHDU(sky(), name=f"{detector}.SCI"),
            fits.ImageHDU(np.full(SHAPE, error, np.float32), name=f"{detector}.RMS"),
        ]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    assert open_image(f"{tmp_path}/a.fits[DET2.SCI]").exposure.variance[0, 0] == 121


def test_masks_and_weights_in_other_files_are_used(tmp_path):
    path = write(tmp_path, {})
    bad = np.zeros(SHAPE, np.uint8)
    bad[3] = 1
    fits.writeto(tmp_path / "mask.fits", bad)
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.ImageHDU(np.full(SHAPE, 0.02), name="OTHER"),
            fits.ImageHDU(np.full(SHAPE, 0.01), name="SCI"),
        ]
    ).writeto(tmp_path / "weight.fits")
    options = ReadOptions(mask=f"{tmp_path}/mask.fits", weight=f"{tmp_path}/weight.fits")
    exposure = open_image(path, options).exposure
    assert exposure.has(Mask.BAD).sum() == SHAPE[1]
    # Of several the extension of the image's own name.
    assert exposure.variance[9, 9] == pytest.approx(100)


def test_planes_that_are_not_there_or_do_not_fit_are_named(tmp_path):
    path = write(tmp_path, {"DQ": np.zeros((5, 6), np.uint8)})
    assert not open_image(path).exposure.mask.any()
    with pytest.raises(UnreadableImageError, match=r"DQ. is 6 x 5 pixels, but its image is 130 x 120"):
        open_image(path, ReadOptions(mask="DQ"))
    with pytest.raises(
        UnreadableImageError, match=r"--weight no is neither an extension of .*a\.fits nor an existing file"
    ):
        open_image(path, ReadOptions(weight="no"))


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint32, np.int64])
def test_masks_may_use_all_their_bits(tmp_path, kind):
    plane = np.zeros(SHAPE, kind)
    plane[:, :60] = np.iinfo(kind).min or np.iinfo(kind).max
    exposure = open_image(write(tmp_path, {"DQ": plane})).exposure
    assert exposure.has(Mask.BAD).sum() == 60 * SHAPE[0]
    assert open_image(write(tmp_path, {"DQ": plane}), ReadOptions(mask_bits=1 << 40)).exposure is not None


@pytest.mark.parametrize(("name", "value"), [("ERR", np.nan), ("WHT", 0.0), ("VAR", -1.0)])
def test_planes_of_noise_without_a_usable_value_are_reported_and_not_used(tmp_path, name, value, caplog):
    opened = open_image(write(tmp_path, {name: np.full(SHAPE, value, np.float32)}))
    assert not opened.has_variance
    assert f"[{name}] has no positive value and is not used" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("ERR", NOISE**2), ("ERR", 0.1), ("VAR", 1.0), ("IVAR", 50.0)])
def test_noise_that_contradicts_the_scatter_of_the_sky_is_scaled_and_named(tmp_path, name, value, caplog):
    opened = open_image(write(tmp_path, {name: np.full(SHAPE, value, np.float32)}))
    prepare(opened, cosmic_rays=False)
    assert np.median(opened.exposure.variance) == pytest.approx(NOISE**2, rel=0.1)
    assert f"a.fits[{name}] says that the sky" in caplog.text


@pytest.mark.parametrize("factor", [0.6, 1.0, 3.0])
def test_noise_that_resampling_or_stars_explain_is_kept(tmp_path, factor, caplog):
    opened = open_image(write(tmp_path, {"ERR": np.full(SHAPE, NOISE * factor, np.float32)}))
    prepare(opened, cosmic_rays=False)
    assert np.median(opened.exposure.variance) == pytest.approx((NOISE * factor) ** 2)
    assert not caplog.records


@pytest.mark.parametrize("value", [-1.0, np.nan, 0.0])
def test_single_pixels_without_a_variance_are_filled(tmp_path, value):
    variance = np.full(SHAPE, NOISE**2, np.float32)
    variance[::11, ::13] = value
    variance[50:60, 50:60] = value
    opened = open_image(write(tmp_path, {"VAR": variance}))
    prepare(opened, cosmic_rays=False)
    empty = opened.exposure.has(Mask.NO_DATA)
    assert empty[52:58, 52:58].all()
    assert empty.sum() < 130
    assert np.allclose(opened.exposure.variance[~empty], NOISE**2)


def test_bit_that_every_pixel_has_is_not_used(tmp_path, caplog):
    plane = np.full(SHAPE, 16, np.int32)
    plane[:, 5] |= 1
    bad = open_image(write(tmp_path, {"DQ": plane})).exposure.has(Mask.BAD)
    assert (bad[:, 5].all(), bad.sum()) == (True, SHAPE[0])
    assert "16 is set on every pixel" in caplog.text


def test_inverted_mask_is_named(tmp_path):
    plane = np.ones(SHAPE, np.uint8)
    plane[:, 5] = 0
    with pytest.raises(UnreadableImageError, match=r"a\.fits\[MASK\] masks 99% of the pixels .* inverted"):
        open_image(write(tmp_path, {"MASK": plane}))


def test_bit_that_marks_the_sources_is_not_used(tmp_path, caplog):
    image = sky()
    image[20:100:10, 20:100:10] += 500
    image[21:100:10, 20:100:10] += 400
    plane = np.where(image > 400, 2, 0).astype(np.int32)
    plane[:, 5] |= 1
    bad = open_image(write(tmp_path, {"MASK": plane}, image=image)).exposure.has(Mask.BAD)
    assert (bad[:, 5].all(), bad.sum()) == (True, SHAPE[0])
    assert "bit 2 marks the sources" in caplog.text
