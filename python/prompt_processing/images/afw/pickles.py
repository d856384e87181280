"""Read what a pickle holds without running anything from it.

The stack pickles sky maps and PSF models of Piff. A general unpickler imports and calls whatever a file
names; this one makes records of names, arguments and states, and knows nothing but NumPy's arrays.
"""

from __future__ import annotations

import collections
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import StackFileError

__all__ = ["Record", "read_pickle"]


class Record:
    """What a pickle says of one object.

    Attributes
    ----------
    arguments
        Arguments of its constructor, or of the function that makes it.
    state
        Its attributes.
    items
        Its items, if it is a list or a mapping.
    """

    path = ""
    arguments: tuple[Any, ...]
    state: dict[str, Any]
    items: list[Any]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Record:
        """Record the arguments."""
        record = super().__new__(cls)
        record.arguments = arguments
        record.state = dict(keywords)
        record.items = []
        return record

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Do nothing: `__new__` is all that a pickle calls."""

    def __setstate__(self, state: Any) -> None:
        """Record the attributes, which may be in two parts."""
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.state.update(part)
            elif part is not None:
                self.items.append(part)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Record an item of a mapping."""
        self.items.append((key, value))

    def append(self, item: Any) -> None:
        """Record an item of a list."""
        self.items.append(item)

    def extend(self, items: Any) -> None:
        """Record items of a list."""
        self.items.extend(items)

    @property
    def class_name(self) -> str:
        """Name of the class without its module."""
        return self.path.rpartition(".")[2]


def read_pickle(content: bytes, modules: tuple[str, ...], what: str) -> Any:
    """Read a pickle.

    Parameters
    ----------
    content
        The pickle.
    modules
        Packages whose classes and functions become records.
    what
        Description of the file, for messages.

    Returns
    -------
    content
        Values of Python and NumPy, and records.

    Raises
    ------
    StackFileError
        Raised if it names anything else, or is damaged.
    """
    try:
        return _Reader(io.BytesIO(content), modules).load()
    except StackFileError as error:
        raise StackFileError(f"{what}: {error}") from None
    # A damaged pickle can raise almost any error.
    except Exception as error:
        raise StackFileError(f"{what} cannot be read: {type(error).__name__}: {error}") from error


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, modules: tuple[str, ...]) -> None:
        super().__init__(file)
        self._modules = modules

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        if module.split(".")[0] in self._modules or module.startswith(tuple(f"{m}." for m in self._modules)):
            return type(name, (Record,), {"path": f"{module}.{name}"})
        raise StackFileError(f"it names {module}.{name}, which is not read from a pickle.")

    def persistent_load(self, pid: Any) -> Any:
        raise StackFileError("it refers to objects outside of it.")


def _array(subtype: Any, shape: Any, typecode: Any) -> np.ndarray[Any, Any]:
    """Make an array whose state follows in the pickle."""
    return np.ndarray.__new__(np.ndarray, shape, np.dtype("b"))


def _scalar(dtype: np.dtype[Any], content: Any = b"") -> Any:
    return np.frombuffer(content, dtype)[0] if isinstance(content, bytes) else content


def _plain(cls: Any, base: Any, state: Any) -> Any:
    """Stand for ``copyreg._reconstructor`` of old pickles."""
    return cls() if issubclass(cls, Record) else base(state)


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "float64"): np.float64,
    ("numpy", "float32"): np.float32,
    ("numpy", "int64"): np.int64,
    ("numpy", "int32"): np.int32,
    ("numpy", "bool"): np.bool_,
    ("numpy", "bool_"): np.bool_,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "object"): object,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    ("builtins", "slice"): slice,
    ("copyreg", "_reconstructor"): _plain,
    ("copy_reg", "_reconstructor"): _plain,
    **{
        (f"numpy.{core}.multiarray", name): function
        for core in ("core", "_core")
        for name, function in (("_reconstruct", _array), ("scalar", _scalar))
    },
}
"""Classes and functions that only hold or make values."""
