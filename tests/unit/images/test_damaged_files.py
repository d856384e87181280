"""Files that are not what their type requires are named, whatever a reader meets in them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from prompt_processing.images.afw import calibrations, camera, defects, exposure, tables
from prompt_processing.images.damaged_files import DamagedFileError
from prompt_processing.images.fits import read_exposure, read_exposure_parts, read_plane
from prompt_processing.images.layout.parts import read_part


def read_mask(path: Path) -> object:
    return read_plane(path, "mask")


def table_of_unknown_form() -> bytes:
    table = fits.BinTableHDU.from_columns([fits.Column("id", "J", array=np.arange(3))], name="OTHER")
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(content)
    return content.getvalue().replace(b"TFORM1  = 'J ", b"TFORM1  = '?J")


READERS: list[Callable[[Any], object]] = [
    exposure.read_exposure,
    exposure.read_exposure_parts,
    exposure.read_photo_calib,
    tables.read_catalogue,
    tables.read_reference_catalogue,
    defects.read_defects,
    camera.read_camera,
    calibrations.read_isr_calibration,
    calibrations.read_linearizer,
    calibrations.read_photon_transfer,
    calibrations.read_crosstalk,
    read_exposure,
    read_exposure_parts,
    read_mask,
    read_part,
]
CONTENTS = {
    "empty": b"",
    "text": b"no FITS file\n" * 300,
    "truncated header": b"SIMPLE  =                    T".ljust(2000),
    "truncated table": table_of_unknown_form()[:-2000],
    "table of an unknown form": table_of_unknown_form(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("read", READERS, ids=lambda read: f"{read.__module__}.{read.__name__}")
def test_damaged_file_is_named(tmp_path: Path, read: Callable[[Any], object], content: str) -> None:
    file = tmp_path / "damaged.fits"
    file.write_bytes(CONTENTS[content])
    with pytest.raises(DamagedFileError, match=r"damaged\.fits"):
        read(file)


@pytest.mark.parametrize("read", READERS, ids=lambda read: f"{read.__module__}.{read.__name__}")
def test_missing_file_is_missing(tmp_path: Path, read: Callable[[Any], object]) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.fits")
