"""Remember what a visit has entered in the local repository."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lsst.daf.butler import DatasetRef

from prompt_processing.butler.local.repository import LocalRepository

__all__ = ["EnteredDatasets"]


class EnteredDatasets:
    """The datasets of a visit in the local repository.

    The repository would need a query for each dataset type, half a second for export and cleaning together.
    After an error during an addition it is asked nevertheless, because only it knows what was entered.

    Parameters
    ----------
    local : `LocalRepository`
        The repository.
    """

    def __init__(self, local: LocalRepository) -> None:
        self._local = local
        self._refs: list[DatasetRef] | None = []

    @contextmanager
    def adding(self) -> Iterator[list[DatasetRef]]:
        """Enter datasets in the repository; the block appends them to the list that it gets."""
        known, self._refs = self._refs, None
        added: list[DatasetRef] = []
        yield added
        if known is not None:
            self._refs = known + added

    def forget(self) -> None:
        """Ask the repository from now on."""
        self._refs = None

    def clear(self) -> None:
        """Begin again, with an empty repository."""
        self._refs = []

    def of_runs(self, runs: Iterable[str]) -> list[DatasetRef]:
        """Return the datasets in these runs, with dimension records."""
        wanted = set(runs)
        if self._refs is None:
            return self._local.datasets(wanted)
        return [ref for ref in self._refs if ref.run in wanted]
