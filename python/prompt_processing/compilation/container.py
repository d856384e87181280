"""Compile the numerics while a container is built."""

from __future__ import annotations

import sys
from pathlib import Path

import prompt_processing
from prompt_processing.compilation.calibration import compile_calibration
from prompt_processing.compilation.difference import compile_difference_imaging

__all__ = ["main"]


def main() -> int:
    """Compile the numerics; return 0, or 1 if nothing was cached."""
    seconds = compile_calibration() + compile_difference_imaging()
    package = Path(prompt_processing.__path__[0])
    kept = sum(1 for _ in package.rglob("*.nbc"))
    sys.stderr.write(f"{kept} compiled functions, {seconds:.0f} s\n")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
