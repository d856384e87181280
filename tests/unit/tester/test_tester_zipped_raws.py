"""Raws that a repository holds in ZIP archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from lsst.daf.butler import Butler, DatasetType
from lsst.resources import ResourcePath

from prompt_processing.instruments.errors import RawFileError
from prompt_processing.tester.upload_hsc_rc2 import copy_raw


def test_raw_in_an_archive_of_the_butler_is_extracted(tmp_path: Path) -> None:
    for name in ("source", "zipped"):
        Butler.makeRepo(str(tmp_path / name))
    with Butler.from_config(str(tmp_path / "source"), writeable=True, run="raws") as source:
        source.registry.insertDimensionData("instrument", {"name": "HSC", "detector_max": 112})
        for detector in (49, 50):
            record = {"instrument": "HSC", "id": detector, "full_name": f"1_{detector}"}
            source.registry.insertDimensionData("detector", record)
        kind = DatasetType(
            "raw", ("instrument", "detector"), "StructuredDataDict", universe=source.dimensions
        )
        source.registry.registerDatasetType(kind)
        refs = [source.put({"n": n}, kind, instrument="HSC", detector=n) for n in (49, 50)]
        archive = source.retrieve_artifacts_zip(refs, str(tmp_path))
        with Butler.from_config(str(tmp_path / "zipped"), writeable=True) as zipped:
            zipped.transfer_dimension_records_from(source, refs)
            zipped.registry.registerDatasetType(kind)
            zipped.ingest_zip(archive, transfer="copy")
            for ref in refs:
                copied = tmp_path / f"{ref.dataId['detector']}.fits"
                copy_raw(str(zipped.getURI(ref)), copied)
                assert copied.read_bytes() == ResourcePath(source.getURI(ref)).read()


@pytest.mark.parametrize("damaged", [False, True])
def test_archive_without_the_raw_is_named(tmp_path: Path, damaged: bool) -> None:
    archive = tmp_path / "raws.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("one.fits", b"1")
    if damaged:
        archive.write_bytes(archive.read_bytes()[:40])
    with pytest.raises(RawFileError, match=r"raws\.zip.*two\.fits"):
        copy_raw(f"{archive.as_uri()}#zip-path=two.fits", tmp_path / "copy.fits")
