"""The id of a deployment names what is installed."""

from __future__ import annotations

import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

import prompt_processing
from prompt_processing.butler.deployment import _named, _sources


def test_all_installed_distributions_are_named_as_importlib_names_them() -> None:
    installed = list(metadata.distributions(path=[sysconfig.get_path("purelib")]))
    assert len(installed) > 50
    assert [_named(one) for one in installed] == [f"{one.name}=={one.version}" for one in installed]


@pytest.mark.parametrize(
    ("folder", "file", "text"),
    [
        ("odd-1.0.dist-info", "METADATA", "Metadata-Version: 2.1\nname: odd\nversion: 1.0\n\nVersion: 9\n"),
        ("old.egg-info", "PKG-INFO", "Metadata-Version: 1.0\nName: odd\nVersion: 1.0\n"),
        ("crlf-1.0.dist-info", "METADATA", "Name: odd\r\nVersion: 1.0\r\n\r\nVersion: 9\r\n"),
    ],
)
def test_unusual_metadata_is_read_too(tmp_path: Path, folder: str, file: str, text: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / file).write_bytes(text.encode())
    (found,) = metadata.distributions(path=[str(tmp_path)])
    assert _named(found) == f"{found.name}=={found.version}" == "odd==1.0"


def test_every_module_counts_once_in_an_order_of_its_own() -> None:
    package = Path(prompt_processing.__path__[0])
    found = [(name.lstrip("/"), content) for name, content in _sources(str(package))]
    expected = {str(path.relative_to(package)): path.read_bytes() for path in package.rglob("*.py")}
    assert dict(found) == expected
    assert len(found) == len(expected)
    assert found == [(name.lstrip("/"), content) for name, content in _sources(str(package))]
