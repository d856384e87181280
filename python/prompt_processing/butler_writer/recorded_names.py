"""Stand-ins for formatters and storage classes, of which the writer needs only the names."""

from __future__ import annotations

import re
from functools import cache

from lsst.daf.butler import FormatterV2, StorageClass, StorageClassFactory

__all__ = ["formatter_named", "know_storage_class"]

_LONGEST_NAME = 255

_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+", re.ASCII)
_STORAGE_CLASS = re.compile(r"[^\W\d]\w*", re.ASCII)
_RUNS_WHAT_IT_READS = re.compile(r"pickle", re.IGNORECASE)


def formatter_named(name: str) -> type[FormatterV2]:
    """Return a stand-in class for a formatter, of which only the name is used.

    Nothing is imported, because the class may exist only where files are written and read.

    Parameters
    ----------
    name : `str`
        Full name of the class, from a message.

    Raises
    ------
    ValueError
        Raised if it is not the full name of a class, or if the class unpickles: any publisher could place
        such a file, and it would run code where it is read.
    """
    if len(name) > _LONGEST_NAME or not _CLASS.fullmatch(name):
        raise ValueError(f"{name[:_LONGEST_NAME]!r} is not the full name of a formatter.")
    if _RUNS_WHAT_IT_READS.search(name):
        raise ValueError(f"{name} would run code from the file that it reads; such files are not entered.")
    return _formatter(name)


def know_storage_class(name: str) -> None:
    """Register a storage class by its name, unless the Butler's configuration has it.

    Parameters
    ----------
    name : `str`
        Name of the storage class of a dataset type.

    Raises
    ------
    ValueError
        Raised if the name is not valid.
    """
    factory = StorageClassFactory()
    if name in factory:
        return
    if len(name) > _LONGEST_NAME or not _STORAGE_CLASS.fullmatch(name):
        raise ValueError(f"{name[:_LONGEST_NAME]!r} is not the name of a storage class.")
    factory.registerStorageClass(StorageClass(name))


@cache
def _formatter(name: str) -> type[FormatterV2]:
    class NamedFormatter(FormatterV2):
        @classmethod
        def name(cls) -> str:
            return name

    return NamedFormatter
