"""``prompt reprocess-night``: process a night again, and compare it with the first processing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from prompt_processing.cli.flow.run import command_of

if TYPE_CHECKING:
    from prompt_processing.cli.command import Command

__all__ = ["main"]

main = cast("Command", command_of("reprocess-night"))
main.name = "reprocess-night"
main.examples = """
prompt reprocess-night --repo repo --instrument LSSTCam --night 2026-11-28 --output u/me/again --dry-run
prompt reprocess-night --repo repo --instrument LSSTCam --night 2026-11-28 --output u/me/again -j 4
prompt reprocess-night --repo repo --instrument HSC --visits 1202,1204 --first HSC/prompt/output-2026-11-28 \\
    --output u/me/deep --config filterDiaSource:minimumSnr=4.0
"""
