"""A section of an image equals the same cut of the whole image, and little else is read."""

from __future__ import annotations

import io
from pathlib import Path

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from small_exposure import an_exposure

from prompt_processing.images.fits import read_exposure, write_exposure
from prompt_processing.images.layout.sections import ImageSections


class Counted(io.BytesIO):
    """A file that counts the bytes that are read."""

    n_read = 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self.n_read += len(content)
        return content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_exposure(tmp_path / "e.fits", an_exposure((300, 211)))
    return tmp_path / "e.fits"


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ((0, 300), (0, 211)),
        ((17, 18), (5, 6)),
        ((250, 300), (100, 211)),
        ((0, 64), (3, 90)),
        ((8, 8), (0, 9)),
    ],
)
def test_section_equals_the_cut_of_the_whole_image(
    path: Path, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    whole = read_exposure(path)
    sections = ImageSections(lambda: path.open("rb"))
    assert sections.shape == whole.image.shape
    cut = slice(*rows), slice(*columns)
    np.testing.assert_array_equal(sections.read("IMAGE", *cut), whole.image[cut])
    np.testing.assert_array_equal(sections.read("VARIANCE", *cut), whole.variance[cut])
    np.testing.assert_array_equal(sections.read("MASK", *cut), whole.mask[cut])


def test_only_the_rows_of_a_section_are_read(path: Path) -> None:
    content = path.read_bytes()
    files: list[Counted] = []

    def opened() -> Counted:
        files.append(Counted(content))
        return files[-1]

    sections = ImageSections(opened)
    files.clear()
    sections.read("IMAGE", slice(100, 110), slice(0, 211))
    assert sum(file.n_read for file in files) < 10 * (24 + 4 * 211)


@pytest.mark.parametrize("compression", ["GZIP_2", "RICE_1", None])
def test_files_of_others_are_read_too(tmp_path: Path, compression: str | None) -> None:
    image = np.random.default_rng(3).normal(100, 5, (90, 70)).astype(np.float32)
    hdu = (
        fits.ImageHDU(image)
        if compression is None
        else fits.CompImageHDU(image, compression_type=compression, tile_shape=(10, 20))
    )
    hdu.name = "IMAGE"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "o.fits")
    expected = fitsio.read(str(tmp_path / "o.fits"), ext="IMAGE")
    sections = ImageSections(lambda: (tmp_path / "o.fits").open("rb"))
    assert sections.planes == ("IMAGE",)
    np.testing.assert_allclose(
        sections.read("IMAGE", slice(13, 47), slice(7, 33)), expected[13:47, 7:33], rtol=1e-6
    )


def test_truncated_file_is_an_error(path: Path) -> None:
    sections = ImageSections(lambda: io.BytesIO(path.read_bytes()))
    cut = path.read_bytes()[:30_000]
    sections._opened = lambda: io.BytesIO(cut)
    with pytest.raises(OSError, match="truncated"):
        sections.read("VARIANCE", slice(0, 300), slice(0, 211))
