"""``prompt``: the one command, of which all others are parts."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from .aliases import ALIASES
from .commands import COMMANDS, GROUPS, SECTIONS, Entry

__all__ = ["main", "prompt", "run"]


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and not to list it.

    Parameters
    ----------
    path
        Words that name the group; none for the first one.
    """

    def __init__(self, path: tuple[str, ...] = (), **options: object) -> None:
        super().__init__(name=path[-1] if path else "prompt", **options)  # type: ignore[arg-type]
        self._path = path

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the table."""
        return list(self._entries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        words = (*self._path, cmd_name)
        key = " ".join(words)
        if key in GROUPS:
            return LazyGroup(words, help=GROUPS[key].summary)
        return _load(COMMANDS[key], cmd_name) if key in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what there is, in sections."""
        entries = self._entries()
        for section in SECTIONS if not self._path else ("",):
            rows = [(name, entry.summary) for name, entry in entries.items() if entry.section == section]
            with formatter.section(section or "Commands"):
                formatter.write_dl(rows)

    def _entries(self) -> dict[str, Entry]:
        found = {}
        for key, entry in {**GROUPS, **COMMANDS}.items():
            *parents, name = key.split()
            if tuple(parents) == self._path:
                found[name] = entry
        return found


def _load(entry: Entry, name: str) -> click.Command:
    module, _, attribute = entry.target.partition(":")
    target = getattr(import_module(module), attribute)
    if isinstance(target, click.Command):
        target.name = name
        return target

    @click.command(
        name,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        sys.exit(target(list(arguments)))

    return command


prompt = LazyGroup(help="Prompt Processing: alerts within seconds of a survey image's arrival.")


def main() -> None:
    """Run the command that the program's name and arguments say."""
    words = ALIASES.get(Path(sys.argv[0]).name, ())
    prompt.main([*words, *sys.argv[1:]], prog_name="prompt")


def run(*words: str) -> int:
    """Run a command in this process and return its exit status.

    Parameters
    ----------
    *words
        Of the command line, without the program's name.
    """
    try:
        prompt.main(list(words), prog_name="prompt")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
