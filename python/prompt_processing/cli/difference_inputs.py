"""Remote inputs of ``prompt difference``, copied to a temporary folder while it runs."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_REMOTE = re.compile(r"(https?|s3|gs|davs?|webdavs?)://", re.IGNORECASE)


def is_remote(path: str) -> bool:
    """Return whether a path is a URL to fetch."""
    return _REMOTE.match(path) is not None


def _split(path: str) -> tuple[str, str]:
    """Split ``FILE[EXTENSION]``, keeping the extension's brackets."""
    from prompt_processing.difference.reading.read import split_extension

    file, extension = split_extension(path)
    return file, "" if extension is None else f"[{extension}]"


def local_name(path: str) -> str:
    """Return the file name of a path or URL, without folder, query and extension."""
    file, _ = _split(path)
    return Path(unquote(urlsplit(file).path)).name if is_remote(file) else Path(file).name


def public_name(url: str) -> str:
    """Return a URL without user, password and query, which may hold a signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{unquote(parts.path)}"


def input_files(science: str, template: str, options: Mapping[str, Any]) -> list[str | Path]:
    """Return all local files to read."""
    names = [science, template]
    for which in ("", "template_"):
        for name in ("mask", "variance", "weight", "psf_stars", "psf"):
            value = options.get(f"{which}{name}")
            names += [] if value is None else [str(value)]
    files = [_split(name)[0] for name in names if not is_remote(name)]
    return [files[0], *files[1:]] if len(files) < 3 else [*files[:2], *filter(os.path.exists, files[2:])]


@contextmanager
def local_files(
    paths: Sequence[str], progress: Callable[[str], None]
) -> Iterator[list[tuple[str, str | None]]]:
    """Fetch the URLs among ``paths``, and remove the copies afterwards.

    Parameters
    ----------
    paths
        Files and URLs, optionally with ``[EXTENSION]``.
    progress
        Called with a description of each step as it begins.

    Yields
    ------
    files
        For each input, its local path with ``[EXTENSION]``, and the name to show if it was fetched.

    Raises
    ------
    DifferenceError
        Raised if a file cannot be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="prompt-difference-") as folder:
        files: list[tuple[str, str | None]] = []
        for number, path in enumerate(paths):
            if is_remote(path):
                url, extension = _split(path)
                shown = public_name(url)
                progress(f"fetching {shown}")
                files.append((_fetch(url, shown, Path(folder, str(number))) + extension, shown))
            else:
                files.append((path, None))
        yield files


def _fetch(url: str, shown: str, folder: Path) -> str:
    """Copy a remote file into a folder and return its path."""
    from lsst.resources import ResourcePath

    from prompt_processing.difference.errors import UnreadableImageError

    folder.mkdir()
    copy = folder / "image"
    try:
        ResourcePath(copy).transfer_from(ResourcePath(url), transfer="copy")
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{shown}: there is no such file.") from error
    # The stores' clients have no common base class for errors, and some messages contain the signed URL.
    except Exception as error:
        text = without_secrets(str(error).replace(url, shown))
        raise UnreadableImageError(f"{shown} cannot be fetched ({type(error).__name__}: {text}).") from error
    return str(copy)


def without_secrets(text: str) -> str:
    """Return a message in one line, without the users, passwords and queries of URLs."""
    text = re.sub(r"://[^/@\s]+@", "://", " ".join(text.split()))
    return re.sub(r"\?\S*=\S*", "", text)
