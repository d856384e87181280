"""``prompt night-cube``: add a night to the statistics of the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from prompt_processing.cli.flow.run import command_of

if TYPE_CHECKING:
    from prompt_processing.cli.command import Command

__all__ = ["main"]

main = cast("Command", command_of("night-cube"))
main.name = "night-cube"
main.examples = """
prompt night-cube --night 2026-11-28 --database night.db --apdb apdb.yaml --instrument LSSTCam --to cube
prompt night-cube --night 2026-11-28 --database night.db --instrument LSSTCam --to cube --dry-run
"""
