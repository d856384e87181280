"""IERS tables come from the archive that a site names."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from astropy.config.paths import set_temp_cache
from astropy.utils.data import get_cached_urls
from astropy.utils.iers import IERS_A_URL, IERS_LEAP_SECOND_URL

from prompt_processing.activator.storage.iers_tables import IersTablesError, import_iers_tables


@pytest.fixture(autouse=True)
def cache(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "cache"
    folder.mkdir()
    with set_temp_cache(folder):
        yield folder


def archive(tmp_path: Path, *urls: str) -> Path:
    path = tmp_path / "iers-cache.zip"
    with zipfile.ZipFile(path, "w") as content:
        for url in urls:
            content.writestr(quote(url, safe=""), "a table")
    return path


def test_tables_of_the_archive_and_nothing_else_reach_the_cache(tmp_path: Path) -> None:
    path = archive(tmp_path, IERS_A_URL, IERS_LEAP_SECOND_URL, "https://example.org/other")
    for uri in (str(path), path.as_uri()):
        import_iers_tables(uri)
    assert set(get_cached_urls()) == {IERS_A_URL, IERS_LEAP_SECOND_URL}


def test_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(IersTablesError, match=r"absent\.zip does not exist"):
        import_iers_tables(str(tmp_path / "absent.zip"))


def test_archive_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "iers-cache.zip"
    path.write_text("<html>not found</html>")
    with pytest.raises(IersTablesError, match=r"iers-cache\.zip is not a usable ZIP archive"):
        import_iers_tables(str(path))


def test_damaged_archive_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path, IERS_A_URL)
    path.write_bytes(path.read_bytes().replace(b"a table", b"b table"))
    with pytest.raises(IersTablesError, match=r"finals2000A\.all cannot be extracted"):
        import_iers_tables(str(path))
    assert get_cached_urls() == []


def test_archive_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IersTablesError, match="has no IERS table"):
        import_iers_tables(str(archive(tmp_path, "https://example.org/other")))
