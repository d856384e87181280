"""A flame graph of the CPU seconds of all threads, by what the main thread is doing."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from types import FrameType

_PERIOD = 0.01
_WIDTH, _ROW, _MARGIN = 1200, 18, 24
_LEAST = 2.0
"""Width, in pixels, of the narrowest box that is drawn."""
_CHARACTER = 6.3
_HERE = ("prompt_processing", "prompt_delivery")


@dataclass(slots=True)
class Node:
    """One function with all that it calls."""

    seconds: float = 0.0
    below: dict[str, Node] = field(default_factory=lambda: defaultdict(Node))


class Flame:
    """CPU seconds by stack.

    A thread looks at the stack of the main thread a hundred times a second and adds the CPU seconds that the
    process has used since. Threads that the main thread waits for are thus counted where it waits.
    """

    def __init__(self) -> None:
        self.root = Node()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sample while the block runs."""
        done = threading.Event()
        thread = threading.Thread(target=self._sample, args=(threading.get_ident(), done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _sample(self, watched: int, done: threading.Event) -> None:
        before = time.process_time()
        while not done.wait(_PERIOD):
            frame = sys._current_frames().get(watched)
            now = time.process_time()
            self.add(_stack(frame), now - before)
            before = now

    def add(self, stack: list[str], seconds: float) -> None:
        """Add seconds to a stack, outermost function first."""
        node = self.root
        node.seconds += seconds
        for name in stack:
            node = node.below[name]
            node.seconds += seconds

    def write(self, path: Path, title: str) -> None:
        """Write a static SVG: a box for each function, as wide as its CPU seconds, above its caller."""
        scale = (_WIDTH - 2 * _MARGIN) / max(self.root.seconds, 1e-9)
        boxes = list(_boxes(self.root, 0.0, 0, scale))
        depth = 1 + max((row for _, _, row, _ in boxes), default=0)
        height = depth * _ROW + 3 * _MARGIN
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'font-family="sans-serif" font-size="11" role="img" aria-label="{escape(title)}">',
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="{_MARGIN}" y="{_MARGIN}" font-size="14">{escape(title)}</text>',
        ]
        for name, x, row, node in boxes:
            width, y = node.seconds * scale, height - _MARGIN - (row + 1) * _ROW
            colour = "#f4a261" if name.startswith("~") else "#8ab6d6"
            label = name.lstrip("~")
            shown = label if len(label) * _CHARACTER < width else label[: max(int(width / _CHARACTER) - 1, 0)]
            lines.append(
                f"<g><title>{escape(label)}: {node.seconds:.2f} s</title>"
                f'<rect x="{_MARGIN + x:.1f}" y="{y}" width="{max(width - 0.5, 0.5):.1f}" '
                f'height="{_ROW - 1}" fill="{colour}"/>'
                f'<text x="{_MARGIN + x + 2:.1f}" y="{y + 12}">{escape(shown)}</text></g>'
            )
        path.write_text("\n".join([*lines, "</svg>", ""]))


def _boxes(node: Node, x: float, row: int, scale: float) -> Iterator[tuple[str, float, int, Node]]:
    for name, child in sorted(node.below.items()):
        if child.seconds * scale >= _LEAST:
            yield name, x, row, child
            yield from _boxes(child, x, row + 1, scale)
        x += child.seconds * scale


def _stack(frame: FrameType | None) -> list[str]:
    """Return the functions of this project on a stack, and the innermost of other packages after each."""
    names: list[str] = []
    foreign = ""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        name = f"{module.rpartition('.')[2]}.{frame.f_code.co_name}"
        if module.startswith(_HERE):
            if foreign:
                names.append(foreign)
                foreign = ""
            names.append(f"~{name}")
        elif module == "__main__" or module.startswith("visit."):
            foreign = ""
        elif module.startswith("lsst.") and not foreign:
            foreign = f"{module.removeprefix('lsst.').split('.')[0]}.{frame.f_code.co_name}"
        frame = frame.f_back
    return names[::-1]
