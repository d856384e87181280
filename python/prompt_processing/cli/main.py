"""``prompt``: the root command, which holds all others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .aliases import ALIASES
from .command import import_attribute
from .commands import COMMANDS, GROUPS, SECTIONS, Entry

__all__ = ["main", "prompt", "run"]

_HELP = """\
Prompt Processing: alerts within seconds of a survey image's arrival.

For the options of a command, run: prompt COMMAND --help.
"""

_EPILOG = """\
To complete commands and options in bash (zsh and fish work alike):

    eval "$(_PROMPT_COMPLETE=bash_source prompt)"
"""


class LazyGroup(click.Group):
    """Group of commands that imports a command only to run it.

    Parameters
    ----------
    path
        Words that name the group; empty for the root.
    default
        ``module:attribute`` of a function that returns the command to run if none is named.
    """

    def __init__(self, *path: str, default: str = "", **options: Any) -> None:
        super().__init__(name=path[-1] if path else "prompt", **options)
        self._path = path
        self._default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; if no word begins it, the default command runs."""
        wants_default = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        if wants_default and self._default and not ctx.resilient_parsing:
            args = [import_attribute(self._default)(), *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the table."""
        return list(self._entries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        words = (*self._path, cmd_name)
        entry = {**GROUPS, **COMMANDS}.get(" ".join(words))
        if entry is None:
            return None
        if not entry.target:
            return LazyGroup(*words, default=entry.default, help=entry.summary)
        command: click.Command = import_attribute(entry.target)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, in sections."""
        entries = self._entries()
        for section in SECTIONS if not self._path else ("",):
            rows = [(name, entry.summary) for name, entry in entries.items() if entry.section == section]
            with formatter.section(section or "Commands"):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete a command from the table, without importing any."""
        entries = self._entries()
        found = [
            click.shell_completion.CompletionItem(name, help=entry.summary)
            for name, entry in entries.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def _entries(self) -> dict[str, Entry]:
        found = {}
        for key, entry in {**GROUPS, **COMMANDS}.items():
            *parents, name = key.split()
            if tuple(parents) == self._path:
                found[name] = entry
        return found


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"prompt {version('prompt-processing')}")
        ctx.exit()


prompt = LazyGroup(
    help=_HELP,
    epilog="\b\n" + _EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Show the version and exit.",
        )
    ],
)


def main() -> None:
    """Run the command that the program's name and arguments select.

    An older name selects its command both as the program's name and as the first argument.
    """
    program, *words = sys.argv
    name = Path(program).name
    if name in ALIASES:
        # The older name must not answer the shell's requests to complete the new one.
        variable = f"_{name}_NO_COMPLETE".upper()
        prompt.main([*ALIASES[name], *words], prog_name="prompt", complete_var=variable)
    elif words and words[0] in ALIASES:
        prompt.main([*ALIASES[words[0]], *words[1:]], prog_name="prompt")
    else:
        prompt.main(prog_name="prompt")


def run(*words: str) -> int:
    """Run a command in this process and return its exit status.

    Parameters
    ----------
    *words
        Arguments of the command line, without the program's name.
    """
    try:
        prompt.main(list(words), prog_name="prompt")
    except SystemExit as end:
        return int(end.code or 0)
