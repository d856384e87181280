"""Choose the inputs that stay in the local repository between visits."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from lsst.daf.butler import DatasetRef


class CalibrationCache:
    """Remember, for each dataset type, what the last few different visits used.

    A visit uses one bias but several templates and shards of reference stars.
    The cache keeps or drops all datasets of one type that a visit used together.

    Parameters
    ----------
    size : `int`
        Number of different uses to keep for each type.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._uses: dict[str, list[frozenset[UUID]]] = {}
        self._refs: dict[UUID, DatasetRef] = {}

    def __contains__(self, ref: object) -> bool:
        return isinstance(ref, DatasetRef) and ref.id in self._refs

    def __len__(self) -> int:
        return len(self._refs)

    def absent(self, refs: Iterable[DatasetRef]) -> list[DatasetRef]:
        """Return the datasets that the local repository lacks."""
        return [ref for ref in refs if ref.id not in self._refs]

    def use(self, refs: Collection[DatasetRef]) -> None:
        """Record what a visit uses.

        Parameters
        ----------
        refs : collection of `~lsst.daf.butler.DatasetRef`
            Datasets in the local repository.
        """
        by_type: dict[str, set[UUID]] = {}
        for ref in refs:
            self._refs[ref.id] = ref
            by_type.setdefault(ref.datasetType.name, set()).add(ref.id)
        for name, used in by_type.items():
            uses = self._uses.setdefault(name, [])
            use = frozenset(used)
            if use in uses:
                uses.remove(use)
            uses.append(use)

    def evict(self) -> list[DatasetRef]:
        """Forget the least recent uses.

        Returns
        -------
        refs : `list` [`~lsst.daf.butler.DatasetRef`]
            Datasets for the caller to remove from the local repository.
        """
        kept: set[UUID] = set()
        for name, uses in self._uses.items():
            self._uses[name] = uses[len(uses) - self._size :] if self._size < len(uses) else uses
            kept.update(*self._uses[name])
        dropped = [ref for identity, ref in self._refs.items() if identity not in kept]
        for ref in dropped:
            del self._refs[ref.id]
        return dropped

    def clear(self) -> None:
        """Forget everything, after a failure that leaves the local repository in an unknown state."""
        self._uses.clear()
        self._refs.clear()
