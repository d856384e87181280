"""The demo's progress: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

__all__ = ["Progress"]


class Progress:
    """Report the steps of the demo and their durations.

    Parameters
    ----------
    console : `~rich.console.Console`
        Where reports are printed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._start

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report the start of a step and, at its end, its duration."""
        began = self.seconds
        if self._console.is_terminal:
            with self._console.status(f"{name} ..."):
                yield
        else:
            self.report(f"{name} ...")
            yield
        self.report(f"{name}: done in {self.seconds - began:.1f} s")

    def report(self, text: str) -> None:
        """Print a line with the seconds since the beginning."""
        self._console.print(f"[dim]{self.seconds:6.1f} s[/dim]  {text}", highlight=False, soft_wrap=True)
