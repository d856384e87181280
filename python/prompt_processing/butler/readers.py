"""Butler formatters that read what the Rubin stack has written; they write nothing."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lsst.daf.butler import FormatterV2, Location
from lsst.utils.doImport import doImport

from prompt_processing.images.afw import exposure as stack_exposure
from prompt_processing.images.afw.errors import UnreadableTypeError
from prompt_processing.images.afw.sky_map import read_sky_map

from .formatters import PARTS
from .recorded_formatters import table_of_readers

__all__ = [
    "StackExposureReader",
    "StackFileReader",
    "StackPickleReader",
    "UnreadableFormatter",
]


class _StackReader(FormatterV2):
    """Base of readers of the stack's files."""

    default_extension = ".fits"
    supported_extensions = frozenset({".fits", ".fits.fz", ".fits.gz", ".fz", ".pickle", ".ecsv", ".zip"})
    can_read_from_local_file = True

    def to_bytes(self, in_memory_dataset: Any) -> bytes:
        """Refuse to write: the stack's formats belong to the stack.

        Raises
        ------
        UnreadableTypeError
            Always raised.
        """
        raise UnreadableTypeError(f"{self._what} is not written here in the form of {self.name()}.")

    @property
    def _storage_class(self) -> str:
        return self.file_descriptor.storageClass.name

    @property
    def _what(self) -> str:
        ref = self.dataset_ref
        return f"The {ref.datasetType.name} of {ref.dataId}, of the storage class {self._storage_class},"

    def _unreadable(self) -> UnreadableTypeError:
        return UnreadableTypeError(
            f"{self._what} was written by {self.name()}, for which there is no reader here. "
            "Pipelines that need it run only with the stack that wrote it."
        )


class StackExposureReader(_StackReader):
    """Read `~prompt_processing.images.Exposure`, whole or one component at a time."""

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """Read a file, or one component of it."""
        if component is None:
            return stack_exposure.read_exposure(path, (self.file_descriptor.parameters or {}).get("region"))
        if component in PARTS:
            return stack_exposure.read_exposure_parts(path)[PARTS[component]]
        if component == "dimensions":
            return stack_exposure.read_plane(path, "image").shape[::-1]
        return stack_exposure.read_plane(path, component)


class StackFileReader(_StackReader):
    """Read a type for which ``readers.yaml`` names a function."""

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """Read a file.

        Raises
        ------
        UnreadableTypeError
            Raised if the storage class has no reader.
        """
        table = table_of_readers()
        name = table["storage_classes"].get(self._storage_class)
        if name is None or component is not None:
            raise self._unreadable()
        if self._storage_class in table["kept"]:
            status = os.stat(path)
            return _read_once(name, path, status.st_mtime_ns, status.st_size)
        return _function(name)(path)


class StackPickleReader(_StackReader):
    """Read sky maps, and nothing else, from pickles, without running what these say."""

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """Read a file.

        Raises
        ------
        UnreadableTypeError
            Raised if the storage class is not ``SkyMap``.
        """
        if self._storage_class != "SkyMap" or component is not None:
            raise self._unreadable()
        return _sky_map(Path(path).read_bytes(), str(self.data_id["skymap"]), path)


class UnreadableFormatter(_StackReader):
    """Stand for a formatter that is neither installed nor has a reader here."""

    @classmethod
    def validate_extension(cls, location: Location) -> None:
        """Accept any file name: only the other stack knows which are usual."""

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """Refuse to read.

        Raises
        ------
        UnreadableTypeError
            Always raised.
        """
        raise self._unreadable()


def _function(name: str) -> Callable[[str], Any]:
    function: Any = doImport(name)
    return function


@functools.lru_cache(maxsize=4)
def _read_once(name: str, path: str, modified_ns: int, size: int) -> Any:
    return _function(name)(path)


_sky_map = functools.lru_cache(maxsize=2)(read_sky_map)
