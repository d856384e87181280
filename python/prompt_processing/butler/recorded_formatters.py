"""Names of formatters in a repository that another stack has filled.

A repository records the full name of the class that reads each file. The
Butler imports it when the file is read, and when files are ingested or
imported. Here, names of classes that are not installed are imported as
stand-ins of the same name: either readers of this package, or classes that
raise an error when a file is read. What is recorded stays what it was, so that
the other stack still reads what passes through here.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import resources
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import Any

import yaml

__all__ = [
    "know_formatters",
    "local_formatter",
    "raw_formatter",
    "table_of_readers",
    "use_recorded_formatters",
]

_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+", re.ASCII)


@functools.cache
def table_of_readers() -> dict[str, Any]:
    """Return the content of ``readers.yaml``."""
    table = yaml.safe_load((resources.files(__package__) / "readers.yaml").read_text(encoding="utf-8"))
    assert isinstance(table, dict)
    return table


def use_recorded_formatters() -> None:
    """Make the formatters of ``readers.yaml`` importable in this process, where they are not installed."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)


def know_formatters(names: Iterable[str]) -> None:
    """Make formatters importable that a repository or an export has recorded.

    Parameters
    ----------
    names : iterable of `str`
        Full names of classes. Those that are installed, or have a reader here, are left alone; the others
        raise an error when they read.
    """
    for name in names:
        if _CLASS.fullmatch(name) and not _is_importable(name):
            _FINDER.add(name)


def local_formatter(name: str) -> str:
    """Return the formatter with which the worker reads its copy of a file.

    Parameters
    ----------
    name : `str`
        Full name that the central repository has recorded.
    """
    replaced: str | None = table_of_readers()["replaced"].get(name)
    if replaced is not None:
        return replaced
    know_formatters([name])
    return name


def raw_formatter(instrument: str) -> str | None:
    """Return the formatter under which the raws of an instrument are recorded; `None` for this package's.

    Parameters
    ----------
    instrument : `str`
        Short name.
    """
    name: str | None = table_of_readers()["raws"].get(instrument)
    return name


def _is_importable(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), attribute)
    except ImportError:
        return False


class _StandIns(MetaPathFinder, Loader):
    """Finds modules of known formatters that no other finder has."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] | None = None

    def add(self, name: str) -> None:
        """Add the full name of a class."""
        module, _, attribute = name.rpartition(".")
        self._classes().setdefault(module, set()).add(attribute)
        loaded = sys.modules.get(module)
        if loaded is not None and not hasattr(loaded, attribute):
            setattr(loaded, attribute, _stand_in(module, attribute))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module of a known formatter, or a package that leads to one."""
        is_package = any(name.startswith(f"{fullname}.") for name in self._classes())
        if not is_package and fullname not in self._classes():
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=is_package)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Use an ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module with the stand-ins of its classes."""
        for attribute in self._classes().get(module.__name__, ()):
            setattr(module, attribute, _stand_in(module.__name__, attribute))

    def _classes(self) -> dict[str, set[str]]:
        if self._names is None:
            self._names = {}
            for name in table_of_readers()["formatters"]:
                module, _, attribute = name.rpartition(".")
                self._names.setdefault(module, set()).add(attribute)
        return self._names


def _stand_in(module: str, attribute: str) -> type[Any]:
    # Imported late: imports of the Butler itself may have led here.
    from .readers import UnreadableFormatter

    reader = table_of_readers()["formatters"].get(f"{module}.{attribute}")
    base: type[Any] = UnreadableFormatter
    if reader is not None:
        home, _, name = reader.rpartition(".")
        base = getattr(importlib.import_module(home), name)
    # The Butler records the class by this name.
    return type(attribute, (base,), {"__module__": module})


_FINDER = _StandIns()
