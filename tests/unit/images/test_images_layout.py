"""The layout of lsst-images, written and read by either package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from lsst.images import DifferenceImage, MaskedImage, VisitImage
from lsst.images.serialization import open_archive, write_archive
from numpy.typing import NDArray
from small_exposure import a_wcs, an_exposure

from prompt_processing.butler.conversions import exposure_of
from prompt_processing.images import Exposure, Mask
from prompt_processing.images.fits import read_exposure, write_exposure
from prompt_processing.images.layout.identity import Identity
from prompt_processing.images.layout.objects import field_image
from prompt_processing.images.layout.tiles import ZBLANK, compress_floats, compress_integers


def with_header(table: bytes, heap: bytes, shape: tuple[int, int], further: dict[str, object]) -> bytes:
    """A FITS file with one tile-compressed image."""
    rows, columns = shape
    header = fits.Header()
    header.update(
        {
            "XTENSION": "BINTABLE",
            "BITPIX": 8,
            "NAXIS": 2,
            "NAXIS1": len(table) // rows,
            "NAXIS2": rows,
            "PCOUNT": len(heap),
            "GCOUNT": 1,
            "TFIELDS": 1,
            "TTYPE1": "COMPRESSED_DATA",
            "TFORM1": "1PB(999999)",
            "ZIMAGE": True,
            "ZCMPTYPE": "RICE_1",
            "ZBITPIX": 32,
            "ZNAXIS": 2,
            "ZNAXIS1": columns,
            "ZNAXIS2": rows,
            "ZTILE1": columns,
            "ZTILE2": 1,
            "ZNAME1": "BLOCKSIZE",
            "ZVAL1": 32,
            "ZNAME2": "BYTEPIX",
            "ZVAL2": 4,
        }
    )
    header.update(further)
    content = (fits.PrimaryHDU().header.tostring() + header.tostring()).encode() + table + heap
    return content + bytes(-len(content) % 2880)


@pytest.mark.parametrize("shape", [(300, 257), (5, 1), (130, 33)])
@pytest.mark.parametrize("kind", ["any bits", "few planes", "nothing", "rare", "all widths"])
def test_integers_are_compressed_without_loss(tmp_path: Path, shape: tuple[int, int], kind: str) -> None:
    random = np.random.default_rng(0)
    bits = random.integers(-(2**31), 2**31, shape, dtype=np.int64).astype(np.int32)
    # From row to row wider noise, in which one pixel in fifty lies far outside.
    width = 2.0 ** np.linspace(-2, 22, shape[0])[:, np.newaxis] * random.choice(
        [1, 40], shape, p=[0.98, 0.02]
    )
    image: NDArray[np.int32] = {
        "any bits": bits,
        "few planes": bits & 7,
        "nothing": bits & 0,
        "rare": np.where(bits % 1000 == 0, bits, 0).astype(np.int32),
        "all widths": random.normal(0, width).astype(np.int32),
    }[kind]
    tiles = compress_integers(image)
    (tmp_path / "i.fits").write_bytes(with_header(tiles.table(), b"".join(tiles.bands), shape, {}))
    assert np.array_equal(fits.getdata(tmp_path / "i.fits"), image)


@pytest.mark.parametrize("shape", [(300, 257), (5, 1), (3, 12000)])
def test_floats_are_quantised_as_the_standard_says(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(100, 30, shape).astype(np.float32)
    image[0, 0], image[-1, -1] = np.nan, 0.0
    seed = 9999
    tiles = compress_floats(image, 7.5, seed)
    columns = {"TFIELDS": 3, "TTYPE2": "ZSCALE", "TFORM2": "1D", "TTYPE3": "ZZERO", "TFORM3": "1D"}
    dither = {"ZBITPIX": -32, "ZQUANTIZ": "SUBTRACTIVE_DITHER_2", "ZDITHER0": seed, "ZBLANK": ZBLANK}
    (tmp_path / "f.fits").write_bytes(
        with_header(tiles.table(), b"".join(tiles.bands), shape, {**columns, **dither})
    )
    back = fits.getdata(tmp_path / "f.fits")
    # A wrong order of the random numbers would give a whole step.
    assert np.nanmax(np.abs(back - image)) <= 7.5 / 2 + 1e-4
    assert np.isnan(back[0, 0])
    assert back[-1, -1] == 0.0


def test_rows_with_extreme_values_lose_precision_but_no_other_row_does(tmp_path: Path) -> None:
    image = an_exposure()
    image.image[7, 3], image.image[9, 5] = 5e12, np.inf
    write_exposure(tmp_path / "e.fits", image)
    back = read_exposure(tmp_path / "e.fits").image
    assert back[7, 3] == pytest.approx(5e12, rel=1e-6)
    assert np.isnan(back[9, 5])
    others = np.delete(np.arange(120), [3, 7])
    good = np.isfinite(image.image[others])
    assert np.abs(back[others] - image.image[others])[good].max() < 7.6


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("preliminary_visit_image", VisitImage),
        ("difference_image", DifferenceImage),
        ("template_matched", DifferenceImage),
        ("post_isr_image", MaskedImage),
    ],
)
def test_dataset_has_its_type(tmp_path: Path, name: str, kind: type) -> None:
    write_exposure(tmp_path / "e.fits", an_exposure(), Identity(name))
    with open_archive(str(tmp_path / "e.fits")) as reader:
        image = reader.read()
    assert type(image) is kind
    here = read_exposure(tmp_path / "e.fits")
    assert np.array_equal(image.image.array, here.image, equal_nan=True)
    assert np.array_equal(image.mask.get("NO_DATA"), here.has(Mask.NO_DATA))
    assert here.psf is not None


def test_file_of_their_writer_is_read_here(tmp_path: Path) -> None:
    sent = an_exposure()
    write_archive(field_image(sent, Identity("preliminary_visit_image")), str(tmp_path / "theirs.fits"))
    here = read_exposure(tmp_path / "theirs.fits")
    assert np.array_equal(here.image, sent.image, equal_nan=True)
    assert np.array_equal(here.mask, sent.mask)
    assert np.array_equal(here.variance, sent.variance)
    x, y = here.wcs.all_world2pix(*a_wcs().all_pix2world([10.0, 90.0], [20.0, 110.0], 0), 0, tolerance=1e-10)
    np.testing.assert_allclose([x, y], [[10.0, 90.0], [20.0, 110.0]], atol=1e-5)
    assert here.psf is not None
    assert sent.psf is not None
    np.testing.assert_allclose(here.psf.image_at(20, 30), sent.psf.image_at(20, 30), atol=1e-6)
    assert here.visit_info is not None
    assert here.visit_info.exposure == sent.visit_info.exposure  # type: ignore[union-attr]
    assert here.photo_calib is not None
    assert here.photo_calib.njy_per_unit == 1.0


def test_planes_of_others_are_found_by_name_wherever_they_are(tmp_path: Path) -> None:
    from lsst.images import Box, Image, MaskPlane, MaskSchema
    from lsst.images import Mask as FieldMask

    schema = MaskSchema([MaskPlane("VIGNETTED", ""), MaskPlane("COSMIC_RAY", ""), MaskPlane("BAD", "")])
    mask = FieldMask(schema=schema, bbox=Box.from_shape((20, 30)))
    some = np.random.default_rng(0).random((20, 30)) < 0.2
    mask.set("COSMIC_RAY", some)
    mask.set("VIGNETTED", ~some)
    write_archive(MaskedImage(Image(np.ones((20, 30), np.float32)), mask=mask), str(tmp_path / "m.fits"))
    here = read_exposure(tmp_path / "m.fits")
    assert np.array_equal(here.has(Mask.CR), some)
    assert not here.has(~int(Mask.CR)).any()


def test_psf_of_their_model_is_read_without_our_metadata(tmp_path: Path) -> None:
    import json

    sent = an_exposure()
    write_exposure(tmp_path / "e.fits", sent, Identity("preliminary_visit_image"))
    with fits.open(tmp_path / "e.fits") as hdus:
        description = json.loads(hdus["JSON"].data[0]["JSON"].tobytes())
        assert description.pop("metadata")
        from prompt_processing.images.layout.content import psf_of

        psf = psf_of(description, hdus, sent.shape)
    assert psf is not None
    assert sent.psf is not None
    for x, y in ((0.0, 0.0), (99.0, 119.0), (20.0, 70.0)):
        np.testing.assert_allclose(psf.image_at(x, y), sent.psf.image_at(x, y), atol=1e-6)


@pytest.mark.parametrize("lacking", ["wcs", "psf"])
def test_image_of_a_visit_without_a_part_says_so(tmp_path: Path, lacking: str) -> None:
    sent = an_exposure()
    setattr(sent, lacking, None)
    write_exposure(tmp_path / "e.fits", sent, Identity("preliminary_visit_image"))
    assert getattr(read_exposure(tmp_path / "e.fits"), lacking) is None
    with open_archive(str(tmp_path / "e.fits"), cls=VisitImage) as reader:
        image = reader.read()
    assert image.metadata[f"{lacking}_is_known"] is False
    assert getattr(exposure_of(image), lacking) is None


def test_image_in_memory_is_converted_and_back(tmp_path: Path) -> None:
    sent = an_exposure()
    back = exposure_of(field_image(sent, Identity("difference_image")))
    assert back.image is sent.image
    assert np.array_equal(back.mask, sent.mask)
    assert back.psf is not None
    assert sent.psf is not None
    assert np.array_equal(back.psf.coefficients, sent.psf.coefficients)


def test_headers_of_raws_that_fits_cannot_hold_do_not_stop_a_write(tmp_path: Path) -> None:
    image = Exposure.blank((8, 9))
    image.metadata |= {"PROGRAM": "naïve\ntext", "NOTHING": float("nan"), "A LONG KEYWORD": "x" * 200}
    write_exposure(tmp_path / "e.fits", image)
    back = read_exposure(tmp_path / "e.fits").metadata
    assert back == {"PROGRAM": "na?ve?text", "A LONG KEYWORD": "x" * 200}


def test_reading_loads_neither_lsst_images_nor_the_butler(tmp_path: Path) -> None:
    write_exposure(tmp_path / "e.fits", an_exposure(), Identity("preliminary_visit_image"))
    code = (
        "import sys; from prompt_processing.images.fits import read_exposure\n"
        f"assert read_exposure({str(tmp_path / 'e.fits')!r}).psf is not None\n"
        "print(*(name for name in sys.modules if name.startswith(('lsst.images', 'lsst.daf'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
