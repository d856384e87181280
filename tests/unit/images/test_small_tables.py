"""Small tables have the bytes that astropy would write."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits

from prompt_processing.images.layout.extensions import BLOCK, Extension, plain
from prompt_processing.images.layout.small_tables import index_of, structured, texts


def content(extension: Extension) -> bytes:
    return extension.header + b"".join(extension.parts)


@pytest.mark.parametrize("version", [1, 3])
@pytest.mark.parametrize(
    "dtype",
    [
        [("q", ">f8", (13, 10))],
        [("a", "<f4"), ("b", "<i8"), ("c", "<i4", (7,)), ("d", "u1", (2, 3, 4)), ("e", "<i2")],
    ],
)
def test_table_of_numbers_is_that_of_astropy(dtype, version):
    size = np.dtype(dtype).itemsize
    array = np.frombuffer(np.random.default_rng(3).bytes(5 * size), dtype).copy()
    found = structured("PSF/SOLUTION", version, array)
    assert found is not None
    expected = plain(fits.BinTableHDU(array), "PSF/SOLUTION", version)
    assert content(found) == content(expected)
    assert (found.name, found.version, found.size) == (expected.name, expected.version, expected.size)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("T", [("a", "?")]),
        ("T", [("a", "S4")]),
        ("T", [("a", "<c8")]),
        ("T", [("a", "<f4", (1,))]),
        ("T", [("it's", "<f4")]),
        ("A" * 52, [("a", "<f4")]),
        ("T", np.dtype([("a", "u1"), ("b", "<f8")], align=True)),
    ],
)
def test_astropy_makes_all_other_tables(name, dtype):
    assert structured(name, 1, np.zeros(2, dtype)) is None


def test_table_of_texts_is_that_of_astropy():
    values = [b"{}", b'{"a": "' + b"x" * 4000 + b'"}', b"[1]"]
    hdu = fits.BinTableHDU.from_columns([fits.Column("JSON", "PB")], nrows=len(values))
    for row, value in zip(hdu.data, values, strict=True):
        row["JSON"] = np.frombuffer(value, np.byte)
    assert content(texts("JSON", values)) == content(plain(hdu, "JSON", 1))


def test_index_has_the_addresses_of_all_hdus():
    image = plain(fits.ImageHDU(np.zeros((40, 30), np.float32)), "IMAGE", 1)
    table = structured("A/LONGER/NAME", 2, np.zeros(3, [("a", "<f8", (500,))]))
    assert table is not None
    index, start, last = index_of([image, table], BLOCK)
    file = fits.PrimaryHDU().header.tostring().encode() + content(image) + content(table) + content(index)
    with fits.open(io.BytesIO(file)) as hdus:
        assert hdus["INDEX"].data["EXTNAME"].tolist() == ["", "IMAGE", "A/LONGER/NAME"]
        assert hdus["INDEX"].data["EXTVER"].tolist() == [1, 1, 2]
        assert hdus["INDEX"].data["XTENSION"].tolist() == ["IMAGE", "IMAGE", "BINTABLE"]
        assert not hdus["INDEX"].data["ZIMAGE"].any()
        for row, hdu in zip(hdus["INDEX"].data, hdus, strict=False):
            assert row["HDRADDR"] == hdu.fileinfo()["hdrLoc"]
            assert row["DATADDR"] == hdu.fileinfo()["datLoc"]
            assert row["DATSIZE"] == hdu.fileinfo()["datSpan"]
        assert hdus["INDEX"].fileinfo()["hdrLoc"] == start
    assert last == (start - len(content(table)), len(content(table)))
