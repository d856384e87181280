"""Tables of the Earth's rotation, from a site's archive instead of the internet."""

from __future__ import annotations

import fcntl
import logging
import zipfile
from pathlib import Path
from urllib.parse import unquote

from astropy.config.paths import get_cache_dir
from astropy.utils import iers
from astropy.utils.data import import_download_cache
from lsst.resources import ResourcePath

__all__ = ["IersTablesError", "import_iers_tables"]

_log = logging.getLogger("lsst.activator.storage.iers_tables")

_TABLES = (iers.IERS_A_URL, iers.IERS_A_URL_MIRROR, iers.IERS_B_URL, iers.IERS_LEAP_SECOND_URL)


class IersTablesError(Exception):
    """The tables are missing or unusable."""


def import_iers_tables(uri: str) -> None:
    """Put IERS tables into astropy's download cache, from which every time conversion reads them.

    Parameters
    ----------
    uri : `str`
        URI of a ZIP archive as ``astropy.utils.data.export_download_cache`` writes it.

    Raises
    ------
    IersTablesError
        Raised if the archive cannot be read, or has no table.
    """
    try:
        with ResourcePath(uri, forceDirectory=False).as_local() as local:
            _import(Path(local.ospath), uri)
    except FileNotFoundError as error:
        raise IersTablesError(f"{uri} does not exist") from error
    except zipfile.BadZipFile as error:
        raise IersTablesError(f"{uri} is not a usable ZIP archive: {error}") from error
    except IersTablesError:
        raise
    # Stores have exceptions of their own.
    except Exception as error:
        raise IersTablesError(f"{uri} cannot be read: {error}") from error


def _import(archive: Path, uri: str) -> None:
    with zipfile.ZipFile(archive) as content:
        if (damaged := content.testzip()) is not None:
            raise IersTablesError(f"{uri} is damaged: {unquote(damaged)} cannot be extracted")
        found = {unquote(name) for name in content.namelist()} & set(_TABLES)
    if not found:
        raise IersTablesError(f"{uri} has no IERS table; prepare it with astropy's export_download_cache")
    cache = Path(get_cache_dir())
    # The workers of a pod share the cache, and start together.
    with (cache / "prompt-processing-iers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        import_download_cache(archive, urls=found, update_cache=True)
    _log.info("Imported %d IERS tables from %s.", len(found), uri)
