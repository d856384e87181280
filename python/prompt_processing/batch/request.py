"""What a run is asked to do, and the folder that remembers it."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from .errors import BatchError

__all__ = ["RunRequest", "WorkFolder"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run of a pipeline.

    Attributes
    ----------
    repo
        Butler repository.
    pipeline
        Pipeline file, optionally with ``#task,subset``.
    inputs
        Input collections, in search order.
    output
        Chain whose first member becomes the run; empty for none.
    where
        Query that selects data.
    config
        Overrides, each ``label:field=value``.
    """

    repo: str
    pipeline: str
    inputs: tuple[str, ...]
    output: str = ""
    where: str = ""
    config: tuple[str, ...] = ()


class WorkFolder:
    """Folder that holds the graph and the outcomes of one run.

    Parameters
    ----------
    path
        The folder; it is created.
    run
        Output run.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run

    @property
    def graph(self) -> Path:
        """The quantum graph."""
        return self.path / "graph.qg"

    @property
    def outcomes(self) -> Path:
        """One line for each outcome."""
        return self.path / "outcomes.jsonl"

    @classmethod
    def of_run(cls, parent: Path, run: str) -> WorkFolder:
        """Return the folder of a run."""
        return cls(parent / run.replace("/", "__"), run)

    @classmethod
    def choose(cls, parent: Path, request: RunRequest, run: str = "") -> tuple[WorkFolder, bool]:
        """Return the folder of a request, and whether it goes on with an earlier run.

        Without a named run, the latest run of the same request that is not complete is continued, and
        otherwise a new one is named after the output chain and the time.

        Raises
        ------
        BatchError
            Raised if the named run was made by another request.
        """
        if run:
            folder = cls.of_run(parent, run)
            known = folder._stored()
            if known is not None and known[0] != request:
                changed = [name for name, value in asdict(request).items() if value != asdict(known[0])[name]]
                raise BatchError(
                    f"run {run} was begun with another {' and '.join(changed)}: "
                    f"{folder.path / 'request.json'} has the first. "
                    "Name another --output-run, or repeat the first request."
                )
            return folder, known is not None
        if not request.output:
            raise BatchError("name the output: --output CHAIN or --output-run RUN")
        for candidate in sorted(parent.glob("*/request.json"), reverse=True):
            folder = cls(candidate.parent, "")
            known = folder._stored()
            if known is not None and known[0] == request and not (folder.path / "complete").exists():
                folder.run = known[1]
                return folder, True
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        return cls.of_run(parent, f"{request.output}/{now}"), False

    @classmethod
    def latest(cls, parent: Path) -> WorkFolder:
        """Return the folder of the run that was begun last.

        Raises
        ------
        BatchError
            Raised if there is none.
        """
        found = sorted(parent.glob("*/request.json"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise BatchError(f"{parent} holds no run: --work names the folder that the run was executed with")
        return cls(found[-1].parent, "")

    def remember(self, request: RunRequest) -> None:
        """Write down what the run was asked to do."""
        self.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**asdict(request), "run": self.run}, indent=2)
        (self.path / "request.json").write_text(text + "\n", encoding="utf-8")

    def request(self) -> RunRequest:
        """Return what the run was asked to do.

        Raises
        ------
        BatchError
            Raised if the folder holds no run.
        """
        known = self._stored()
        if known is None:
            raise BatchError(f"{self.path} holds no run: name the folder with --work and the run by its name")
        self.run = known[1]
        return known[0]

    def mark_complete(self) -> None:
        """Note that every quantum succeeded, so that the same request begins a new run."""
        (self.path / "complete").touch()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out of this run.

        Raises
        ------
        BatchError
            Raised if another process has the run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BatchError(f"another process is executing run {self.run}; wait for its end") from None
            yield

    def _stored(self) -> tuple[RunRequest, str] | None:
        try:
            row = json.loads((self.path / "request.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        run = row.pop("run")
        return RunRequest(**{**row, "inputs": tuple(row["inputs"]), "config": tuple(row["config"])}), run
