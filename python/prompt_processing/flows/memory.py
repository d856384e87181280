"""What an unfinished run of a flow has chosen, for the run that continues it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import FlowError

__all__ = ["Memory"]


class Memory:
    """Values that the next run with the same parameters finds, until one ends well.

    Parameters
    ----------
    path
        File; without one nothing is kept.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._values: dict[str, Any] = {}
        if path is not None:
            with contextlib.suppress(FileNotFoundError):
                self._values = json.loads(path.read_text(encoding="utf-8"))

    @classmethod
    @contextlib.contextmanager
    def of(cls, folder: Path, parameters: Mapping[str, Any]) -> Iterator[Memory]:
        """Open the memory of some parameters; if the block ends well, the next run starts afresh.

        Raises
        ------
        FlowError
            Raised if another process runs the flow with these parameters.
        """
        text = json.dumps({name: str(value) for name, value in sorted(parameters.items())})
        path = folder / f"unfinished-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        folder.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FlowError(
                    "another process runs this flow with the same parameters; wait for its end"
                ) from None
            yield cls(path)
            path.unlink(missing_ok=True)

    def value(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a value; the first time it is made and kept."""
        if name not in self._values:
            self._values[name] = make()
            if self._path is not None:
                unfinished = self._path.with_suffix(".part")
                unfinished.write_text(json.dumps(self._values, indent=2) + "\n", encoding="utf-8")
                os.replace(unfinished, self._path)
        return self._values[name]

    def __contains__(self, name: str) -> bool:
        return name in self._values
