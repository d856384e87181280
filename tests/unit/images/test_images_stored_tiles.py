"""Compressed planes are read as CFITSIO reads them, whole and in sections."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray
from small_exposure import an_exposure

from prompt_processing.images.fits import read_exposure, read_plane, write_exposure
from prompt_processing.images.layout.archive import FieldArchive
from prompt_processing.images.layout.stored_tiles import has_row_tiles, read_row_tiles


def written(path: Path, plane: NDArray[Any]) -> tuple[fits.Header, int]:
    """Write a compressed plane; return its header as stored, and the address of its data."""
    archive = FieldArchive({"PLANE": 0.25})
    archive.add_array(plane, name="plane")
    (extension,) = archive._extensions
    primary = fits.PrimaryHDU().header.tostring().encode()
    path.write_bytes(primary + extension.header + b"".join(extension.parts))
    with fits.open(path, disable_image_compression=True) as hdus:
        return hdus[1].header.copy(), hdus[1].fileinfo()["datLoc"]


def planes(shape: tuple[int, int]) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(5)
    floats = rng.normal(100, 30, shape).astype(np.float32)
    floats[rng.random(shape) < 0.01] = np.nan
    floats[rng.random(shape) < 0.01] = 0.0
    return {"floats": floats, "integers": (rng.random(shape) < 0.01).astype(np.int32) * 4}


@pytest.mark.parametrize("shape", [(300, 70), (4, 23_000), (1, 1)])
@pytest.mark.parametrize("kind", ["floats", "integers"])
def test_sections_agree_with_cfitsio(tmp_path: Path, kind: str, shape: tuple[int, int]) -> None:
    """The rows of 23 000 pixels use up the table of random numbers twice."""
    header, start = written(tmp_path / "p.fits", planes(shape)[kind])
    expected = fitsio.read(str(tmp_path / "p.fits"), ext=1)
    height, width = shape
    sections = [
        (slice(0, height), slice(0, width)),
        (slice(height // 2, height), slice(width // 3, width)),
        (slice(0, max(height // 2, 1)), slice(width // 2, width // 2 + 1)),
    ]
    assert has_row_tiles(header)
    for section in sections:
        with (tmp_path / "p.fits").open("rb") as file:
            found = read_row_tiles(file, header, start, *section)
        assert found.dtype == planes((1, 1))[kind].dtype
        np.testing.assert_array_equal(found, expected[section])


def test_more_pixels_than_the_bytes_can_hold_are_refused(tmp_path: Path) -> None:
    header, start = written(tmp_path / "p.fits", planes((4, 50))["integers"])
    header["ZNAXIS1"] = header["ZTILE1"] = 10**9
    with (tmp_path / "p.fits").open("rb") as file, pytest.raises(OSError, match="too short"):
        read_row_tiles(file, header, start, slice(0, 4), slice(0, 10**9))


def test_damaged_rows_are_refused(tmp_path: Path) -> None:
    header, start = written(tmp_path / "p.fits", planes((4, 500))["floats"])
    content = bytearray((tmp_path / "p.fits").read_bytes())
    # The second row claims to be a few bytes long.
    content[start + 24 : start + 28] = (8).to_bytes(4, "big")
    (tmp_path / "p.fits").write_bytes(content)
    with (tmp_path / "p.fits").open("rb") as file, pytest.raises(OSError, match="damaged"):
        read_row_tiles(file, header, start, slice(0, 4), slice(0, 500))


def test_file_that_is_compressed_as_a_whole_is_read(tmp_path: Path) -> None:
    write_exposure(tmp_path / "e.fits", an_exposure())
    (tmp_path / "e.fits.gz").write_bytes(gzip.compress((tmp_path / "e.fits").read_bytes()))
    plain, packed = read_exposure(tmp_path / "e.fits"), read_exposure(tmp_path / "e.fits.gz")
    np.testing.assert_array_equal(packed.image, plain.image)
    np.testing.assert_array_equal(packed.mask, plain.mask)
    np.testing.assert_array_equal(read_plane(tmp_path / "e.fits.gz", "variance"), plain.variance)
    assert packed.wcs.pixel_shape == plain.image.shape[::-1]


@pytest.mark.parametrize("kind", ["unsigned", "scaled", "blank", "other dither"])
def test_values_that_keywords_change_are_left_to_cfitsio(tmp_path: Path, kind: str) -> None:
    header, _ = written(tmp_path / "p.fits", planes((4, 50))["floats" if "dither" in kind else "integers"])
    assert has_row_tiles(header)
    keyword, value = {
        "unsigned": ("BZERO", 2.0**31),
        "scaled": ("ZSCALE", 0.5),
        "blank": ("ZBLANK", -1),
        "other dither": ("ZQUANTIZ", "SUBTRACTIVE_DITHER_1"),
    }[kind]
    header[keyword] = value
    assert not has_row_tiles(header)


def test_header_has_the_form_that_astropy_writes(tmp_path: Path) -> None:
    header, _ = written(tmp_path / "plane.fits", planes((70, 300))["floats"])
    assert len(header) > 20
    for card in header.cards:
        assert card.image == fits.Card(card.keyword, card.value, card.comment).image
