"""No input is ever overwritten, outputs are checked before any work, and are written whole or not at all."""

import os
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from prompt_processing.difference.catalogue import candidates_table, write_catalogue
from prompt_processing.difference.errors import UnusableOutputError
from prompt_processing.difference.outputs import check_outputs, replacing
from prompt_processing.difference.picture import write_picture
from prompt_processing.difference.reading.header import merged_header
from prompt_processing.difference.write import write_difference
from prompt_processing.images import Exposure


def small(shape=(20, 30)):
    rng = np.random.default_rng(1)
    return Exposure(
        rng.normal(size=shape).astype(np.float32), np.zeros(shape, np.int32), np.ones(shape, np.float32)
    )


@pytest.fixture
def inputs(tmp_path):
    paths = [tmp_path / "s.fits", tmp_path / "t.fits"]
    for path in paths:
        path.write_bytes(b"pixels")
    return paths


def refused(inputs, *words, image=None, catalogue=None, picture=None):
    with pytest.raises(UnusableOutputError) as error:
        check_outputs(inputs, image, catalogue, picture)
    assert all(word in str(error.value) for word in words), error.value


def test_input_is_refused_as_an_output_by_every_name_it_has(tmp_path, inputs, monkeypatch):
    science, template = inputs
    (tmp_path / "link.fits").symlink_to(science)
    os.link(template, tmp_path / "hard.fits")
    monkeypatch.chdir(tmp_path)
    for name in ("s.fits", "./s.fits", "link.fits", "hard.fits", str(tmp_path / "t.fits")):
        refused(inputs, "--output", "is the input", image=tmp_path / name)
        refused(inputs, "--catalogue", "is the input", catalogue=tmp_path / name)


def test_outputs_of_one_name_are_refused(tmp_path, inputs):
    refused(
        inputs, "--catalogue and --output both name", image=tmp_path / "d.fits", catalogue=tmp_path / "d.fits"
    )
    refused(inputs, "both name", image=tmp_path / "d.png", picture=tmp_path / "." / "d.png")


def test_endings_that_nobody_writes_are_refused(tmp_path, inputs):
    refused(inputs, "--picture", "x.xyz", ".png", picture=tmp_path / "x.xyz")
    refused(inputs, "--catalogue", "x.csv", ".parquet", catalogue=tmp_path / "x.csv")
    check_outputs(inputs, tmp_path / "anything", tmp_path / "X.PARQUET", tmp_path / "X.PNG")


def test_folders_that_cannot_be_written_are_refused(tmp_path, inputs):
    refused(inputs, "--output", "there is no folder", image=tmp_path / "no" / "d.fits")
    refused(inputs, "is a folder", image=tmp_path)
    refused(inputs, "--output /proc/d.fits cannot be written", image=type(tmp_path)("/proc/d.fits"))
    refused(inputs, "cannot be written", image=tmp_path / f"{'x' * 300}.fits")


def test_nothing_is_left_by_the_check(tmp_path, inputs):
    check_outputs(inputs, tmp_path / "d.fits", tmp_path / "d.parquet", tmp_path / "d.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.fits", "t.fits"]


def test_file_that_was_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "d.fits"
    path.write_bytes(b"before")

    def fail():
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_link_is_followed_and_permissions_stay(tmp_path):
    target, link = tmp_path / "target.fits", tmp_path / "link.fits"
    target.write_bytes(b"before")
    target.chmod(0o640)
    link.symlink_to(target)
    with replacing(link) as temporary:
        temporary.write_bytes(b"after")
    assert link.is_symlink()
    assert target.read_bytes() == b"after"
    assert target.stat().st_mode & 0o777 == 0o640


def test_new_file_is_as_readable_as_any(tmp_path):
    (tmp_path / "other").write_bytes(b"")
    with replacing(tmp_path / "d.fits") as temporary:
        temporary.write_bytes(b"after")
    assert (tmp_path / "d.fits").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize(
    "name", ["süd ☆.fits[SCI]", "x" * 200, "a \"quoted\" 'name'.fits", "tab\there.fits", "s.fits"]
)
def test_every_file_name_fits_into_a_header(tmp_path, name):
    header = merged_header(fits.Header(), fits.Header({"BUNIT": "adu", "ZP": 25.0}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_difference(tmp_path / "d.fits", small(), header, {"scienceFile": name, "templateFile": name})
    with fits.open(tmp_path / "d.fits", checksum=True) as hdus:
        written = hdus[0].header["SCIFILE"]
        assert written.isascii()
        assert written == hdus[0].header["TPLFILE"]
        assert name != "s.fits" or written == name
        assert hdus["DIFFERENCE"].header["ZP"] == 25.0
        assert hdus["VARIANCE"].header["BUNIT"] == "(adu)**2"
        for hdu in hdus:
            assert hdu.verify_checksum() == hdu.verify_datasum() == 1


def test_variance_in_tiny_units_is_written(tmp_path):
    exposure = small()
    exposure.variance = np.full(exposure.shape, 1e-56)
    write_difference(tmp_path / "d.fits", exposure, fits.Header(), {})
    with fits.open(tmp_path / "d.fits") as hdus:
        assert hdus["VARIANCE"].data[0, 0] == pytest.approx(1e-56)


def sources():
    table = Table({"diaSourceId": [1], "ra": [150.0], "dec": [2.0], "x": [3.0], "y": [4.0], "snr": [9.0]})
    table["psfFlux"], table["ixx"], table["trailLength"], table["reason"] = [5.0], [1.0], [2.0], ["x"]
    return table


def test_catalogue_has_sky_columns_and_arcseconds_only_with_a_wcs():
    on_sky, plain = candidates_table(sources(), True), candidates_table(sources(), False)
    assert (on_sky["ixx"].unit, on_sky["trailLength"].unit) == ("arcsec2", "arcsec")
    assert (plain["ixx"].unit, plain["trailLength"].unit) == ("pix2", "pix")
    assert {"ra", "dec"} <= set(on_sky.colnames)
    assert not {"ra", "dec"} & set(plain.colnames)


@pytest.mark.parametrize("name", ["c.parquet", "c.fits", "C.FITS", "ü c.parquet"])
def test_catalogue_is_written_by_its_ending(tmp_path, name):
    write_catalogue(tmp_path / name, candidates_table(sources(), True))
    assert len(Table.read(tmp_path / name, format="parquet" if name.endswith("parquet") else "fits")) == 1
    with pytest.raises(UnusableOutputError, match=r"c\.csv"):
        write_catalogue(tmp_path / "c.csv", sources())


def test_picture_of_no_known_format_is_refused_before_it_is_drawn(tmp_path):
    with pytest.raises(UnusableOutputError, match=r"x\.xyz"):
        write_picture(tmp_path / "x.xyz", None)
