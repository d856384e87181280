"""Stars and PSFs that a user brings in files are read, or refused by the file's name."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from prompt_processing.difference.errors import DifferenceError
from prompt_processing.difference.reading.psf_files import read_psf_image, read_star_positions


@pytest.mark.parametrize(
    "name", ["stars.csv", "stars.txt", "stars.fits", "stars.parquet", "stars.ecsv", "stars"]
)
def test_positions_of_stars_are_read_from_tables_of_every_kind(tmp_path, name):
    table = Table({"X": [1.5, 2.5, np.nan], "y": [3.0, 4.0, 5.0], "mag": [1, 2, 3]})
    kind = {"csv": "ascii.csv", "txt": "ascii.basic", "stars": "ascii.commented_header"}.get(
        name.rpartition(".")[2]
    )
    table.write(tmp_path / name, format=kind or {"ecsv": "ascii.ecsv"}.get(name[6:], name[6:]))
    x, y = read_star_positions(tmp_path / name)
    assert x.tolist() == [1.5, 2.5]
    assert y.tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("hello", "is not a table"),
        ("a,b\n1,2\n", "columns x and y, pixels; it has a, b"),
        ("x,y\n1,q\n", "not all numbers"),
    ],
)
def test_tables_without_positions_are_refused(tmp_path, content, reason):
    (tmp_path / "stars.csv").write_text(content)
    with pytest.raises(DifferenceError, match=reason) as error:
        read_star_positions(tmp_path / "stars.csv")
    assert "\n" not in str(error.value)
    with pytest.raises(DifferenceError, match=r"none\.csv: there is no such file"):
        read_star_positions(tmp_path / "none.csv")


def test_psf_is_read_and_other_images_are_refused(tmp_path):
    y, x = np.mgrid[-10:11, -10:11]
    psf = np.exp(-(x**2 + y**2) / 8.0)
    fits.writeto(tmp_path / "psf.fits", psf)
    assert np.array_equal(read_psf_image(tmp_path / "psf.fits"), psf)
    fits.writeto(tmp_path / "sky.fits", psf + 5)
    with pytest.raises(DifferenceError, match=r"sky\.fits is not a PSF's image: its edge has 83%"):
        read_psf_image(tmp_path / "sky.fits")
    field = np.zeros((90, 90))
    field[10, 10] = field[80, 80] = field[10, 80] = 1
    fits.writeto(tmp_path / "field.fits", field)
    with pytest.raises(DifferenceError, match=r"field\.fits is not a PSF's image: 67% of its light"):
        read_psf_image(tmp_path / "field.fits")
    fits.writeto(tmp_path / "nan.fits", psf * np.nan)
    with pytest.raises(DifferenceError, match=r"nan\.fits: a PSF is a finite"):
        read_psf_image(tmp_path / "nan.fits")
    (tmp_path / "text.fits").write_text("hello")
    with pytest.raises(DifferenceError, match=r"text\.fits is not a FITS image"):
        read_psf_image(tmp_path / "text.fits")
