"""Options of the commands that serve pages behind the edge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from prompt_processing.cli.command import option

__all__ = ["https_options"]


def https_options(folder: str, content: str) -> Callable[[Any], Any]:
    """Declare the ports of the edge, and the folder in which its servers keep their files.

    Parameters
    ----------
    folder
        Default folder.
    content
        What is in it.
    """
    options = (
        option(
            "--port", type=click.IntRange(1, 65535), default=8443, show_default=True, help="Port for https."
        ),
        option(
            "--http-port",
            type=click.IntRange(1, 65535),
            default=8080,
            show_default=True,
            help="Port for http, which redirects and verifies the host to the certificate authority.",
        ),
        option(
            "--folder",
            type=click.Path(path_type=Path),
            default=Path(folder),
            show_default=True,
            help=f"Folder for {content}.",
        ),
    )

    def declare(function: Any) -> Any:
        # The help lists options in the order in which decorators stand, which are applied from below.
        for one in reversed(options):
            function = one(function)
        return function

    return declare
