"""Tile-compressed integers are read as CFITSIO reads them, and damage is told."""

from __future__ import annotations

import fitsio
import numpy as np
import pytest

from prompt_processing.instruments import (
    RawFileError,
    read_raw,
)
from prompt_processing.instruments.raw_writer import write_raw
from prompt_processing.instruments.rice import decode_rows, is_row_compressed, read_row_compressed


def written(path, image, **options):
    """Write an image as one compressed HDU; return its header and where its data begin."""
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(image, **{"compress": "rice", "tile_dims": (1, image.shape[1]), **options})
    with fitsio.FITS(str(path)) as file:
        return file[1].read_header(), file[1].get_offsets()["data_start"]


def rows_of(header, start, path):
    content = np.fromfile(path, np.uint8)
    n = header["NAXIS2"]
    places = content[start : start + 8 * n].view(">i4").reshape(n, 2).astype(np.int64)
    places[:, 1] += start + 8 * n
    return content, places


IMAGES = {
    "sky": lambda rng, shape: rng.normal(20_000, 30, shape),
    "faint": lambda rng, shape: rng.normal(0, 0.3, shape),
    "constant": lambda rng, shape: np.full(shape, 7),
    "stars": lambda rng, shape: 1000 * rng.pareto(0.5, shape).clip(0, 1e6),
    "noise of all bits": lambda rng, shape: rng.integers(-(2**31), 2**31 - 1, shape),
    "steps": lambda rng, shape: np.where(rng.random(shape) < 0.01, 2**30, -(2**30)),
}


@pytest.mark.parametrize("columns", [1, 31, 32, 33, 576])
@pytest.mark.parametrize("kind", IMAGES)
def test_compressed_rows_are_read_as_cfitsio_reads_them(tmp_path, kind, columns):
    image = IMAGES[kind](np.random.default_rng(1), (40, columns)).astype(np.int32)
    header, start = written(tmp_path / "a.fits", image)
    assert is_row_compressed(header)
    (found,) = read_row_compressed(tmp_path / "a.fits", [(header, start)])
    np.testing.assert_array_equal(found, image)


def test_other_compressions_are_left_to_cfitsio(tmp_path):
    image = np.random.default_rng(1).normal(1000, 30, (64, 64))
    for pixels, options in (
        (image.astype(np.int16), {}),
        (image.astype(np.uint16), {}),
        (image.astype(np.float32), {"qlevel": 4.0}),
        (image.astype(np.int32), {"compress": "gzip"}),
        (image.astype(np.int32), {"tile_dims": (16, 64)}),
    ):
        header, _ = written(tmp_path / "a.fits", pixels, **options)
        assert not is_row_compressed(header), (pixels.dtype, options)


def test_rows_that_end_early_are_refused(tmp_path):
    image = np.random.default_rng(1).normal(1000, 30, (4, 200)).astype(np.int32)
    header, start = written(tmp_path / "a.fits", image)
    content, places = rows_of(header, start, tmp_path / "a.fits")
    out = np.empty((4, 200), np.int32)
    assert decode_rows(content, places, out)
    shortened = places.copy()
    shortened[2, 0] //= 2
    assert not decode_rows(content, shortened, out)
    elsewhere = places.copy()
    elsewhere[3, 1] = len(content)
    assert not decode_rows(content, elsewhere, out)
    assert not decode_rows(content[: places[3, 1] + 3], places, out)


def test_damaged_bytes_neither_hang_nor_crash(tmp_path):
    rng = np.random.default_rng(1)
    header, start = written(tmp_path / "a.fits", rng.normal(1000, 30, (8, 200)).astype(np.int32))
    content, places = rows_of(header, start, tmp_path / "a.fits")
    out = np.empty((8, 200), np.int32)
    for _ in range(200):
        damaged = content.copy()
        at = rng.integers(places[0, 1], len(content), 30)
        damaged[at] = rng.choice([0, 255, 17], 30)
        assert decode_rows(damaged, places, out) in (True, False)


def test_more_pixels_than_the_file_can_hold_are_refused(tmp_path):
    header, start = written(tmp_path / "a.fits", np.zeros((4, 200), np.int32))
    claimed = {**header, "ZNAXIS1": 10**9, "ZTILE1": 10**9}
    with pytest.raises(OSError, match="not all in"):
        read_row_compressed(tmp_path / "a.fits", [(claimed, start)])


def test_raw_with_damaged_pixels_is_refused_by_name(tmp_path, small_frame):
    frame, _ = small_frame("LSSTCam")
    path = tmp_path / "raw.fits"
    write_raw(path, frame, compress=True)
    with fitsio.FITS(str(path)) as file:
        start = file[1].get_offsets()["data_start"]
    content = bytearray(path.read_bytes())
    content[start : start + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    with pytest.raises(RawFileError, match="damaged"):
        read_raw(path)


@pytest.mark.parametrize("columns", [33, 100, 101, 102, 103, 104])
def test_last_row_is_whole_where_nothing_follows_it(tmp_path, columns):
    image = IMAGES["sky"](np.random.default_rng(2), (3, columns)).astype(np.int32)
    header, start = written(tmp_path / "a.fits", image)
    content, places = rows_of(header, start, tmp_path / "a.fits")
    found = np.empty_like(image)
    assert decode_rows(content[: places.sum(axis=1).max()].copy(), places, found)
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("kind", IMAGES)
def test_left_part_of_rows_is_read_alone(tmp_path, kind):
    image = IMAGES[kind](np.random.default_rng(3), (5, 300)).astype(np.int32)
    content, places = rows_of(*written(tmp_path / "a.fits", image), tmp_path / "a.fits")
    found = np.empty((5, 70), np.int32)
    assert decode_rows(content, places, found)
    np.testing.assert_array_equal(found, image[:, :70])
