"""Storage classes that another stack, or a newer one, has recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["know_storage_classes", "know_storage_classes_of"]


def know_storage_classes_of(butler: Butler) -> None:
    """Register the storage classes of a repository that the installed middleware does not know."""
    know_storage_classes(one.storageClass_name for one in butler.registry.queryDatasetTypes())


def know_storage_classes(names: Iterable[str]) -> None:
    """Register storage classes that the installed middleware does not know.

    Dataset types of such a class can then be found, copied and compared like others. None converts from or to
    them, and reading them is an error that names them.

    Parameters
    ----------
    names
        Names of storage classes, also of known ones.
    """
    from lsst.daf.butler import StorageClass, StorageClassFactory

    factory = StorageClassFactory()
    for name in names:
        if name not in factory:
            # A Python type of its own: every other one can be converted to `object`.
            factory.registerStorageClass(StorageClass(name, pytype=type(name, (), {})))
