"""Check before any work that outputs can be written, and write them whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UnusableOutputError

IMAGE_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz")
CATALOGUE_ENDINGS = (".parquet", ".parq", ".pq", ".fits", ".fit")
PICTURE_ENDINGS = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".eps", ".ps")


def check_outputs(
    inputs: list[str | Path], image: Path | None, catalogue: Path | None, picture: Path | None
) -> None:
    """Refuse outputs that would destroy an input or each other, or that cannot be written.

    Parameters
    ----------
    inputs : `list`
        Files that are read; none may be overwritten, under any name or link.
    image, catalogue, picture : `~pathlib.Path` or `None`
        Files to write.

    Raises
    ------
    UnusableOutputError
        Raised with the option (``--output``, ``--catalogue``, ``--picture``) and what is wrong with it.
    """
    outputs = [
        ("--output", image, IMAGE_ENDINGS, "FITS"),
        ("--catalogue", catalogue, CATALOGUE_ENDINGS, "a catalogue"),
        ("--picture", picture, PICTURE_ENDINGS, "a picture"),
    ]
    given = [(option, path, endings, what) for option, path, endings, what in outputs if path is not None]
    for index, (option, path, endings, what) in enumerate(given):
        for other in inputs:
            if _same(path, Path(other)):
                raise UnusableOutputError(
                    f"{option} {path} is the input {other}; inputs are never overwritten, name another file."
                )
        for other_option, other_path, _, _ in given[:index]:
            if _same(path, other_path):
                raise UnusableOutputError(f"{option} and {other_option} both name {path}.")
        # FITS is written under any name; the other formats are chosen by the ending.
        if option != "--output" and not path.name.lower().endswith(endings):
            usual = ", ".join(endings[:-1]) + f" or {endings[-1]}"
            raise UnusableOutputError(f"{option} {path}: the name of {what} ends in {usual}.")
        _check_writable(option, path)


def _same(one: Path, other: Path) -> bool:
    """Return whether two names refer to one file, through links or before it exists."""
    try:
        if os.path.exists(one) and os.path.exists(other):
            return one.samefile(other)
        return one.resolve() == other.resolve()
    except OSError:
        return False


def _check_writable(option: str, path: Path) -> None:
    folder = path.parent
    # pathlib's own tests raise for names that are too long.
    if os.path.isdir(path):
        raise UnusableOutputError(f"{option} {path} is a folder; name a file.")
    if not os.path.isdir(folder):
        raise UnusableOutputError(f"{option} {path}: there is no folder {folder}.")
    if os.path.exists(path) and not os.path.isfile(path):
        return
    try:
        # Only a trial shows read-only disks, quotas and over-long names; permission bits do not.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{path.name[:100]}"):
            path.exists()
    except OSError as error:
        raise UnusableOutputError(f"{option} {path} cannot be written: {error.strerror}.") from error
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise UnusableOutputError(f"{option} {path} cannot be written: the file is read-only.")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file in the same folder that replaces ``path`` on success.

    Raises
    ------
    UnusableOutputError
        Raised if the file cannot be written; an existing file is left unchanged.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        # A device or a pipe cannot be replaced.
        yield target
        return
    target = target.resolve()
    ending = "".join(target.suffixes[-2:]) if target.suffix in (".gz", ".bz2") else target.suffix
    try:
        handle, name = tempfile.mkstemp(ending, f".{target.stem[:100]}-", target.parent)
        os.close(handle)
    except OSError as error:
        raise UnusableOutputError(f"{path} cannot be written: {error.strerror}.") from error
    temporary = Path(name)
    try:
        yield temporary
        # A temporary file is private; the result is as readable as any new file.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~mask)
        temporary.replace(target)
    except OSError as error:
        raise UnusableOutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
