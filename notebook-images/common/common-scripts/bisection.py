"""Find the changes of packages that broke a notebook.

A notebook that runs with the old packages and fails with the new ones is run with part of the changes, in an
environment of its own, until no change can be left out without the failure going away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path

from environments import run_notebook, uv, write_kernel
from package_lists import RefusedError, blocks

__all__ = ["Outcome", "Trial", "smallest"]

_KERNEL = "trial"


class Outcome(Enum):
    """What became of a trial."""

    RUNS = "runs"
    FAILS = "fails"
    UNCLEAR = "fails for another reason, or cannot be installed"


class Trial:
    """Runs notebooks with the old packages and part of the changes.

    Parameters
    ----------
    old, new
        Frozen lists.
    folder
        Folder for the environment; its content is replaced.
    """

    def __init__(self, old: Path, new: Path, folder: Path) -> None:
        for path in (old, new):
            if path.suffix == ".conda":
                raise RefusedError(f"{path.name} lists packages of conda: trials need lists of PyPI (.txt).")
        self._old, self._new = blocks(old), blocks(new)
        self._list = folder / "trial.txt"
        self._share = folder / "jupyter"
        self._python = folder / "venv" / "bin" / "python"
        interpreter = os.environ.get("ENVIRONMENT_PYTHON", sys.executable)
        uv("trial", "venv", "--quiet", "--python", interpreter, str(folder / "venv"))
        kernel = self._share / "kernels" / _KERNEL
        kernel.mkdir(parents=True)
        write_kernel(kernel, self._python, _KERNEL)

    def changes(self) -> list[str]:
        """Return the packages that differ."""
        names = sorted(self._old.keys() | self._new.keys())
        return [name for name in names if self._old.get(name) != self._new.get(name)]

    def error(self, notebook: Path, changes: Sequence[str]) -> str | None:
        """Run a notebook with some changes, and return how it failed; `None` if it did not.

        Raises
        ------
        RefusedError
            Raised if the packages cannot be installed.
        """
        chosen = dict(self._old)
        for name in changes:
            if name in self._new:
                chosen[name] = self._new[name]
            else:
                del chosen[name]
        self._list.write_text("".join(chosen[name] for name in sorted(chosen)), encoding="utf-8")
        # Not resolved: the trial has exactly these, even if a package asks for others.
        uv(
            "trial",
            "pip",
            "sync",
            "--quiet",
            "--python",
            str(self._python),
            "--require-hashes",
            str(self._list),
        )
        return run_notebook(notebook, _KERNEL, self._share)

    def cause(self, notebook: Path) -> tuple[list[str], str]:
        """Find which changes broke a notebook.

        Returns
        -------
        changes, error
            The packages, and how the notebook fails; no packages if it runs with all changes.

        Raises
        ------
        RefusedError
            Raised if it fails without any change.
        """
        if (error := self.error(notebook, [])) is not None:
            raise RefusedError(f"{notebook.name} fails with the old packages, too: {error}")
        everything = self.changes()
        expected = self.error(notebook, everything)
        if expected is None:
            return [], ""

        def outcome(changes: Sequence[str]) -> Outcome:
            try:
                found = self.error(notebook, changes)
            except RefusedError:
                return Outcome.UNCLEAR
            if found is None:
                return Outcome.RUNS
            return Outcome.FAILS if found == expected else Outcome.UNCLEAR

        return smallest(everything, outcome), expected


def smallest(changes: Sequence[str], outcome: Callable[[Sequence[str]], Outcome]) -> list[str]:
    """Return changes that fail together, of which none can be left out.

    First halves are tried, then ever smaller parts and what remains without them, so that a single culprit
    among N changes takes about 2 log2(N) trials.

    Parameters
    ----------
    changes
        Changes that fail together.
    outcome
        Returns what becomes of part of them; an unclear outcome is not a failure.
    """
    left = list(changes)
    parts = 2
    while len(left) > 1:
        size = -(-len(left) // parts)
        pieces = [left[start : start + size] for start in range(0, len(left), size)]
        failing = next((one for one in pieces if outcome(one) is Outcome.FAILS), None)
        if failing is not None:
            left, parts = failing, 2
            continue
        # With two pieces, the rest of one is the other.
        rests = [[name for name in left if name not in one] for one in pieces] if len(pieces) > 2 else []
        rest = next((one for one in rests if outcome(one) is Outcome.FAILS), None)
        if rest is not None:
            left, parts = rest, max(parts - 1, 2)
        elif parts >= len(left):
            break
        else:
            parts = min(2 * parts, len(left))
    return left
