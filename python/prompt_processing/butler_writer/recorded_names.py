"""Classes by name: a writer records how a file is read, and needs nothing that reads it."""

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
    """Return a class that stands for a formatter wherever only its name is needed.

    Nothing is imported: the class may exist only where the file was written and where it is read.

    Parameters
    ----------
    name : `str`
        Full name of the class, as a message gives it.

    Raises
    ------
    ValueError
        Raised if it is not the full name of a class, or if the class unpickles: a file that anybody who may
        publish can place must not run code where it is read.
    """
    if len(name) > _LONGEST_NAME or not _CLASS.fullmatch(name):
        raise ValueError(f"{name[:_LONGEST_NAME]!r} is not the full name of a formatter.")
    if _RUNS_WHAT_IT_READS.search(name):
        raise ValueError(f"{name} would run code of the file that it reads; such files are not entered.")
    return _formatter(name)


def know_storage_class(name: str) -> None:
    """Make a storage class known by its name, unless the Butler's configuration has it.

    Parameters
    ----------
    name : `str`
        Name of the storage class of a dataset type.

    Raises
    ------
    ValueError
        Raised if it cannot be the name of one.
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
