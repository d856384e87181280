"""Report files that cannot be read because of their content."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate

__all__ = ["DamagedFileError", "naming_the_file"]


class DamagedFileError(ValueError):
    """A file is not what its type requires; the message names the file and the reason."""


type _Reader[**P, T] = Callable[Concatenate[str | Path, P], T]


def naming_the_file[**P, T](
    what: str, damaged: type[DamagedFileError] = DamagedFileError, *passed_on: type[Exception]
) -> Callable[[_Reader[P, T]], _Reader[P, T]]:
    """Let a reader report a damaged file as such.

    Parameters
    ----------
    what
        What the file is, if not damaged: ``an image of the stack``.
    damaged
        Error to raise.
    *passed_on
        Further exceptions that the reader raises on purpose.

    Returns
    -------
    decorator
        For readers whose first argument is the path of the file.
    """
    kept: tuple[type[Exception], ...] = (DamagedFileError, MemoryError, *passed_on)

    def decorated(read: _Reader[P, T]) -> _Reader[P, T]:
        @functools.wraps(read)
        def reader(path: str | Path, /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return read(path, *args, **kwargs)
            except kept:
                raise
            # Readers of FITS, tables and mappings raise whatever they meet in a damaged file.
            except Exception as error:
                if isinstance(error, OSError) and error.errno is not None:
                    # Of the file system.
                    raise
                reason = (str(error).splitlines() or [""])[0]
                raise damaged(
                    f"{path} is damaged, or not {what}: {type(error).__name__}: {reason}"
                ) from error

        return reader

    return decorated
