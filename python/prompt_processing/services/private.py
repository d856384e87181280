"""Files with secrets."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_private"]


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner can read.

    Parameters
    ----------
    path
        The file; its folder exists.
    content
        A secret, or a configuration with secrets.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(content)
    # An existing file keeps its mode when it is opened.
    path.chmod(0o600)
