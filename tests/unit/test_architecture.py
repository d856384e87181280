"""What import-linter cannot see: packages of one namespace, and what is loaded at run time."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "lsst.daf",
    "lsst.pipe",
    "lsst.dax",
    "sqlalchemy",
    "confluent_kafka",
    "redis",
    "boto3",
    "flask",
)

IMPORT_ALL = """
import importlib, pkgutil, sys
import {package} as package
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    # Loaded only when a file is written: the types of lsst.images load the Butler, if it is installed.
    if not module.name.startswith("prompt_processing.images.layout."):
        importlib.import_module(module.name)
print(*sorted(name for name in sys.modules if name.startswith({heavy!r})))
"""


def loaded(package: str, heavy: tuple[str, ...]) -> list[str]:
    code = IMPORT_ALL.format(package=package, heavy=heavy)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.parametrize("room", ["domain", "images", "imaging"])
def test_numerics_and_plain_data_load_no_butler_database_or_broker(room: str) -> None:
    assert loaded(f"prompt_processing.{room}", HEAVY) == []


def test_differencing_two_images_loads_no_butler_database_broker_or_data_frames() -> None:
    code = (
        "import sys; from prompt_processing.difference import difference_images;"
        f"print(*(name for name in sys.modules if name.startswith({(*HEAVY, 'pandas', 'pyarrow')!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
