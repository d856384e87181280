"""What the demo tells while it works: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

__all__ = ["Progress"]


class Progress:
    """Steps with their seconds.

    Parameters
    ----------
    console : `~rich.console.Console`
        Where to tell.
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
        """Tell that something goes on, and how long it took."""
        began = self.seconds
        if self._console.is_terminal:
            with self._console.status(f"{name} ..."):
                yield
        else:
            self.tell(f"{name} ...")
            yield
        self.tell(f"{name}: done in {self.seconds - began:.1f} s")

    def tell(self, text: str) -> None:
        """Tell something at once."""
        self._console.print(f"[dim]{self.seconds:6.1f} s[/dim]  {text}", highlight=False, soft_wrap=True)
