"""Reliability from the package of a pretrained model."""

from __future__ import annotations

import json
import logging
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from lsst.pipe.base import InMemoryDatasetHandle

from prompt_processing.butler.model_package import MODEL_FILE, ModelPackage, read_model_package
from prompt_processing.images.afw.errors import StackFileError
from prompt_processing.imaging import measurement
from prompt_processing.tasks.compute_reliability import ComputeReliabilityTask

SOURCES = Table({"diaSourceId": np.array([1, 2]), "snr": [5.0, 50.0]})


def package(path: Path, **files: str | bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_json", ".json"), content)
    return path


def versions(found: ModelPackage) -> list[str]:
    handle = InMemoryDatasetHandle(found, storageClass="NNModelPackagePayload")
    scores = ComputeReliabilityTask().run(sources=SOURCES, package=handle).scores
    return list(scores["version"])


def test_model_of_this_project_in_a_package_is_used(tmp_path: Path) -> None:
    fields = json.loads(resources.files(measurement).joinpath("reliability_model.json").read_text("utf-8"))
    own = fields["version"]
    text = json.dumps({**fields, "version": "site-7"})
    found = read_model_package(package(tmp_path / "m.zip", model__reliability_model_json=text))
    assert versions(found) == ["site-7", "site-7"]
    # A model of its own dataset type is preferred.
    handle = InMemoryDatasetHandle(found, storageClass="NNModelPackagePayload")
    scores = ComputeReliabilityTask().run(sources=SOURCES, model=fields, package=handle).scores
    assert list(scores["version"]) == [own, own]


def test_network_of_another_program_is_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = package(tmp_path / "m.zip", architecture="raise SystemExit", checkpoint=b"0")
    with caplog.at_level(logging.INFO):
        assert versions(read_model_package(path)) == list(
            ComputeReliabilityTask().run(sources=SOURCES).scores["version"]
        )
    assert f"a model of another program (architecture, checkpoint), not {MODEL_FILE}" in caplog.text


def test_package_that_cannot_be_read_stops_no_visit(caplog: pytest.LogCaptureFixture) -> None:
    class Handle:
        def get(self) -> Any:
            raise ValueError("Failure from formatter")

    handle: Any = Handle()
    assert len(ComputeReliabilityTask().run(sources=SOURCES, package=handle).scores) == 2
    assert "pretrainedModelPackage cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not JSON"), ("[]", "is not a JSON object"), (None, "is not a readable ZIP")],
)
def test_damaged_packages_are_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "m.zip"
    if content is None:
        path.write_bytes(b"")
    else:
        package(path, reliability_model_json=content)
    with pytest.raises(StackFileError, match=message):
        read_model_package(path)
