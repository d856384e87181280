"""The image that is meant is found in whatever observatories write, or a sentence says why there is none."""

import bz2
import gzip
import io
import lzma
import os
import warnings
from contextlib import suppress

import numpy as np
import pytest
from astropy.io import fits

from prompt_processing.difference.errors import UnreadableImageError
from prompt_processing.difference.reading.read import ReadOptions, open_image, split_extension
from prompt_processing.images import Mask

SHAPE = (40, 50)


def sky(seed=1, shape=SHAPE):
    return np.random.default_rng(seed).normal(300, 10, shape).astype(np.float32)


def table(name="CAT"):
    return fits.BinTableHDU.from_columns([fits.Column("X", "D", array=[1.0, 2.0])], name=name)


def write(path, *hdus, name="a.fits"):
    fits.HDUList(list(hdus)).writeto(path / name, overwrite=True)
    return path / name


def first_cards(*cards):
    """Return a header block that lacks its END."""
    lines = ["SIMPLE  =                    T"]
    lines += [f"{name:8s}= {value:>20s}" for name, _, value in (card.partition("=") for card in cards)]
    return "".join(f"{line:80s}" for line in lines).ljust(2880).encode()


def refused(path, *words, options=None):
    with pytest.raises(UnreadableImageError) as error:
        open_image(path, options)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize("position", ["before", "after"])
def test_tables_among_the_extensions_do_no_harm(tmp_path, position):
    image = fits.ImageHDU(sky(), name="SCI")
    parts = [table(), image] if position == "before" else [image, table(), table("HDRTAB")]
    path = write(tmp_path, fits.PrimaryHDU(), *parts)
    assert np.array_equal(open_image(path).exposure.image, sky())
    assert np.array_equal(open_image(f"{path}[SCI]").exposure.image, sky())


def test_file_of_tables_only_is_refused_with_its_contents(tmp_path):
    refused(
        write(tmp_path, fits.PrimaryHDU(), table()), "no two-dimensional image", "1 CAT (table of 2 rows)"
    )
    refused(f"{tmp_path}/a.fits[CAT]", "is a table, not an image")


def test_empty_first_hdus_are_passed_over(tmp_path):
    path = write(tmp_path, fits.PrimaryHDU(), fits.ImageHDU(), fits.ImageHDU(sky()))
    assert np.array_equal(open_image(path).exposure.image, sky())
    refused(f"{path}[1]", "has no pixels")


def test_masks_of_unusual_names_are_not_mistaken_for_an_image(tmp_path):
    masks = [fits.ImageHDU(np.zeros(SHAPE, np.uint8), name=name) for name in ("SATMASK", "BAD_PIXEL_MASK")]
    path = write(tmp_path, fits.PrimaryHDU(sky()), *masks, fits.ImageHDU(sky()[::8, ::8], name="THUMB"))
    assert np.array_equal(open_image(path).exposure.image, sky())


def test_image_named_as_a_mask_is_not_its_own_mask(tmp_path):
    header = fits.Header({"EXTNAME": "MASK"})
    opened = open_image(write(tmp_path, fits.PrimaryHDU(sky(), header)))
    assert not opened.exposure.has(Mask.BAD).any()


def test_planes_beside_the_image_are_not_mistaken_for_it(tmp_path):
    names = ("SCI", "ERR", "DQ", "AREA", "VAR_POISSON", "WCSDVARR", "WHT", "CON")
    path = write(tmp_path, fits.PrimaryHDU(), *(fits.ImageHDU(sky(i), name=n) for i, n in enumerate(names)))
    assert np.array_equal(open_image(path, ReadOptions(mask_bits=0)).exposure.image, sky(0))


@pytest.mark.parametrize(
    ("extension", "seed"), [("[SCI,2]", 2), ("[sci, 2]", 2), ("[1]", 1), ("[SCI,1]", 1), ("[OTHER]", 3)]
)
def test_extension_is_found_by_name_version_or_number(tmp_path, extension, seed):
    hdus = [fits.ImageHDU(sky(i), name="SCI", ver=i) for i in (1, 2)]
    path = write(tmp_path, fits.PrimaryHDU(), *hdus, fits.ImageHDU(sky(3), name="OTHER"))
    assert np.array_equal(open_image(f"{path}{extension}").exposure.image, sky(seed))


def test_wrong_extensions_are_refused_with_what_is_right(tmp_path):
    hdus = [fits.ImageHDU(sky(i), name="SCI", ver=i) for i in (1, 2)]
    path = write(tmp_path, fits.PrimaryHDU(), *hdus)
    refused(path, "several images", f"{path}[SCI,1]")
    refused(f"{path}[SCI,x]", "[SCI,x]", "version (EXTVER) after the comma is not a whole number")
    refused(f"{path}[]", "is not an extension")
    refused(f"{path}[ERR]", "has no extension ERR", "1 SCI (50 x 40)")
    refused(f"{path}[7]", "has no extension 7")


def test_cube_of_one_plane_is_an_image(tmp_path):
    for shape in ((1, *SHAPE), (1, 1, *SHAPE), (*SHAPE, 1)):
        path = write(tmp_path, fits.PrimaryHDU(sky().reshape(shape)))
        assert np.array_equal(open_image(path).exposure.image, sky())


def test_cube_of_more_planes_is_refused_with_the_option_that_chooses_one(tmp_path):
    cube = np.stack([sky(1), sky(2), sky(3)])
    path = write(tmp_path, fits.PrimaryHDU(cube))
    refused(path, "cube of 50 x 40 x 3 pixels", "--plane N, N from 1 to 3")
    refused(path, "--plane 4 is not in it", options=ReadOptions(plane=4))
    assert np.array_equal(open_image(path, ReadOptions(plane=2)).exposure.image, sky(2))
    refused(write(tmp_path, fits.PrimaryHDU(sky())), "--plane 2 is not in it", options=ReadOptions(plane=2))


def test_colours_may_be_the_first_axis(tmp_path):
    colours = np.stack([sky(1), sky(2), sky(3)], axis=-1)
    path = write(tmp_path, fits.PrimaryHDU(colours))
    refused(path, "choose one of its 3 planes with --plane N")
    assert np.array_equal(open_image(path, ReadOptions(plane=2)).exposure.image, sky(2))


def test_image_of_one_axis_is_refused(tmp_path):
    refused(write(tmp_path, fits.PrimaryHDU(sky()[0])), "no two-dimensional image")


@pytest.mark.parametrize("name", ["a.fits", "A.FITS", "image", "a b.fit", "süd ☆.fts", "x[1].fits"])
def test_the_name_of_a_file_does_not_matter(tmp_path, name):
    assert np.array_equal(
        open_image(write(tmp_path, fits.PrimaryHDU(sky()), name=name)).exposure.image, sky()
    )


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_are_read_whatever_their_name(tmp_path, packed):
    stream = io.BytesIO()
    fits.PrimaryHDU(sky()).writeto(stream)
    path = tmp_path / "a.dat"
    path.write_bytes(packed(stream.getvalue()))
    assert np.array_equal(open_image(path).exposure.image, sky())


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_2", "HCOMPRESS_1"])
def test_tile_compressed_files_are_read(tmp_path, kind):
    counts = np.round(sky()).astype(np.int16)
    path = write(
        tmp_path, fits.PrimaryHDU(), fits.CompImageHDU(counts, compression_type=kind), name="a.fits.fz"
    )
    assert np.array_equal(open_image(path).exposure.image, counts)


def test_damaged_tiles_are_refused(tmp_path):
    counts = np.round(sky(shape=(200, 200))).astype(np.int16)
    path = write(tmp_path, fits.PrimaryHDU(), fits.CompImageHDU(counts, compression_type="GZIP_1"))
    content = bytearray(path.read_bytes())
    content[-20_000:-10_000] = os.urandom(10_000)
    path.write_bytes(content)
    refused(path, "is damaged")


def test_pixels_that_disagree_with_their_checksum_are_reported(tmp_path, caplog):
    for hdu in (fits.PrimaryHDU(sky()), fits.CompImageHDU(np.round(sky()).astype(np.int16))):
        path = tmp_path / "a.fits"
        hdu.writeto(path, checksum=True, overwrite=True)
        open_image(path)
        assert not caplog.records
        content = bytearray(path.read_bytes())
        content[-2000] ^= 4
        path.write_bytes(content)
        with suppress(UnreadableImageError):
            open_image(path)
        assert "DATASUM" in caplog.text
        caplog.clear()


def test_truncated_file_is_refused_and_missing_padding_is_not(tmp_path):
    image = sky(shape=(200, 210))
    path = write(tmp_path, fits.PrimaryHDU(image))
    content = path.read_bytes()
    end = 2880 + image.nbytes
    path.write_bytes(content[:end])
    assert np.array_equal(open_image(path).exposure.image, image)
    path.write_bytes(content[: end - 1])
    refused(path, "is truncated", "100% of the image")
    path.write_bytes(content[: 2880 + image.nbytes // 2])
    refused(path, "is truncated", "50% of the image")
    path.write_bytes(content[:1000])
    refused(path, "the END card is missing")
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(content)[:-5000])
    refused(tmp_path / "a.fits.gz", "is truncated")


@pytest.mark.parametrize("rubbish", [b"rubbish" * 1000, b"XTENSION= garbage".ljust(2880)])
def test_damage_behind_the_image_does_no_harm(tmp_path, rubbish):
    path = write(tmp_path, fits.PrimaryHDU(sky()))
    path.write_bytes(path.read_bytes() + rubbish)
    assert np.array_equal(open_image(path).exposure.image, sky())


@pytest.mark.parametrize(
    "text", [" BITPIX  =                    7", "NAXIS2  =", "NAXIS1  =             99999999"]
)
def test_headers_that_cannot_be_decoded_are_refused_in_our_words(tmp_path, text):
    path = write(tmp_path, fits.PrimaryHDU(sky()))
    card = text.strip()[:8].encode()
    content = bytearray(path.read_bytes())
    at = content.index(card)
    content[at : at + 80] = text.strip().ljust(80).encode()
    path.write_bytes(content)
    refused(path, "a.fits")
    with pytest.raises(UnreadableImageError) as error:
        open_image(path)
    assert "Error" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\xff\xd8\xff\xe0" + bytes(99), "JPEG"),
        (b"<!DOCTYPE html><html>", "download failed"),
        (b"XISF0100", "save it as FITS"),
        (b"hello", "not a FITS image"),
        (b"SIMPLE  =                    T" + bytes(2850), "damaged"),
        (b"SIMPLE  =                    F" + bytes(2850), "SIMPLE = F"),
        (gzip.compress(b"", mtime=0), "unpacks to 0 bytes"),
        (gzip.compress(bytes(257) + b"ustar" + bytes(3000), mtime=0), "a tar archive; unpack it"),
        (b"PK\3\4" + bytes(3000), "a zip archive"),
        (first_cards("BITPIX"), "BITPIX = nothing"),
        (first_cards("BITPIX=13"), "BITPIX = 13"),
        (first_cards("NAXIS=2", "NAXIS1=0"), "NAXIS1 = 0"),
        (first_cards("NAXIS=2", "NAXIS1=-4"), "NAXIS1 = -4"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path, content, what):
    (tmp_path / "a.fits").write_bytes(content)
    refused(tmp_path / "a.fits", "a.fits", what)


def test_missing_files_and_folders_are_told_apart(tmp_path):
    refused(tmp_path / "no.fits", "no.fits: there is no such file")
    refused(tmp_path, "is a folder")


@pytest.mark.parametrize(
    "kind", [np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.int64, np.float32, np.float64]
)
def test_pixels_of_every_type_are_read(tmp_path, kind):
    values = np.clip(np.round(sky()) - 250, 0, 255).astype(kind)
    assert np.array_equal(open_image(write(tmp_path, fits.PrimaryHDU(values))).exposure.image, values)


def test_scaled_and_blank_integers_are_read(tmp_path):
    hdu = fits.PrimaryHDU(np.round(sky()).astype(np.int16))
    hdu.data[3, 4] = -32768
    hdu.header["BLANK"] = -32768
    path = write(tmp_path, hdu)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BSCALE"], hdus[0].header["BZERO"] = 0.5, 1000.0
    image = open_image(path).exposure
    assert image.has(Mask.NO_DATA)[3, 4]
    assert image.has(Mask.NO_DATA).sum() == 1
    assert image.image[0, 0] == np.round(sky())[0, 0] * 0.5 + 1000


def test_scale_factors_written_as_text_are_applied(tmp_path):
    path = write(tmp_path, fits.PrimaryHDU(np.round(sky()).astype(np.int16)))
    for keyword, value in (("BSCALE", "2.0"), ("BZERO", "32768"), ("BLANK", "-1")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fits.setval(path, keyword, value=value)
    assert open_image(path).exposure.image[0, 0] == np.round(sky())[0, 0] * 2 + 32768


@pytest.mark.parametrize(("factor", "word"), [(1e-45, "too small"), (1e40, "too large")])
def test_pixels_that_32_bits_cannot_hold_are_refused(tmp_path, factor, word):
    refused(write(tmp_path, fits.PrimaryHDU(sky().astype(np.float64) * factor)), word, "another unit")


def test_not_a_number_and_infinite_pixels_have_no_data(tmp_path):
    values = sky().astype(np.float64)
    values[1, 1:5] = np.nan, np.inf, -np.inf, 1e300
    image = open_image(write(tmp_path, fits.PrimaryHDU(values))).exposure
    assert image.has(Mask.NO_DATA)[1, 1:5].all()
    assert image.has(Mask.NO_DATA).sum() == 4
    assert np.isfinite(image.image).all()


def test_image_without_a_usable_pixel_is_refused(tmp_path):
    refused(write(tmp_path, fits.PrimaryHDU(np.full(SHAPE, np.nan, np.float32))), "no usable pixel")


def test_overscan_of_a_raw_frame_is_left_out(tmp_path, caplog):
    header = fits.Header({"DATASEC": "[1:44,1:40]", "BIASSEC": "[46:50,1:40]"})
    image = open_image(write(tmp_path, fits.PrimaryHDU(sky(), header))).exposure
    assert image.has(Mask.NO_DATA)[:, 44:].all()
    assert not image.has(Mask.NO_DATA)[:, :44].any()
    assert "overscan" in caplog.text


@pytest.mark.parametrize("section", ["[1:50,1:40]", "[1:60,1:40]", "UNKNOWN"])
def test_sections_of_a_frame_that_was_trimmed_are_ignored(tmp_path, section):
    header = fits.Header({"DATASEC": section, "BIASSEC": "[46:50,1:40]", "TRIMSEC": "[17:66,1:40]"})
    assert not open_image(write(tmp_path, fits.PrimaryHDU(sky(), header))).exposure.mask.any()


def test_copy_of_a_file_is_named_as_the_original(tmp_path):
    path = write(tmp_path, fits.PrimaryHDU(), fits.ImageHDU(sky(), name="SCI"))
    assert open_image(path, shown="https://example.org/a.fits").name == "https://example.org/a.fits[SCI]"
    path.write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=r"^https://example\.org/a\.fits is empty"):
        open_image(path, shown="https://example.org/a.fits")


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a.fits", ("a.fits", None)),
        ("a.fits[SCI]", ("a.fits", "SCI")),
        ("a.fits[ SCI , 2 ]", ("a.fits", "SCI , 2")),
        ("a[1].fits[SCI,2]", ("a[1].fits", "SCI,2")),
        ("https://h/a.fits?x=[1]", ("https://h/a.fits?x=", "1")),
    ],
)
def test_extension_is_split_from_the_file_name(path, parts):
    assert split_extension(path) == parts


def test_magnitudes_are_refused(tmp_path):
    magnitudes = fits.PrimaryHDU(25 - 0.01 * sky(), fits.Header({"BUNIT": "mag"}))
    refused(write(tmp_path, magnitudes), "BUNIT = 'mag'", "write them as fluxes")
