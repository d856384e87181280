"""The directives ``commands`` and ``command-aliases``: what ``prompt`` can do, from its own tables."""

from __future__ import annotations

from collections.abc import Iterator

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from prompt_processing.cli.aliases import ALIASES
from prompt_processing.cli.commands import COMMANDS, GROUPS, SECTIONS
from prompt_processing.cli.main import prompt

WIDTH = 88
"""Of the help's lines, characters: what a page shows without scrolling."""


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    options = {**command.context_settings, "terminal_width": WIDTH}
    return click.Context(command, info_name=name, parent=parent, **options)


def contexts(group: click.Group, parent: click.Context) -> Iterator[click.Context]:
    """Return the context of each command of a group, those of its groups included, in the table's order."""
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None, name
        context = _context(command, name, parent)
        if isinstance(command, click.Group):
            yield from contexts(command, context)
        else:
            yield context


def of_section(section: str) -> list[click.Context]:
    """Return the commands under one heading of the first page of the help."""
    root = _context(prompt, "prompt")
    found: list[click.Context] = []
    for name, entry in {**GROUPS, **COMMANDS}.items():
        if entry.section != section:
            continue
        command = prompt.get_command(root, name)
        assert command is not None, name
        context = _context(command, name, root)
        found += contexts(command, context) if isinstance(command, click.Group) else [context]
    return found


class Commands(SphinxDirective):
    """``commands``: each command's own help, under the headings of the first page of the help."""

    def run(self) -> list[nodes.Node]:
        """Make a section for each heading."""
        made: list[nodes.Node] = []
        for heading in SECTIONS:
            section = self._section(heading, nodes.Text(heading))
            for context in of_section(heading):
                words = context.command_path
                command = self._section(words, nodes.literal(words, words))
                text = context.command.get_help(context)
                command += nodes.literal_block(text, text, language="text")
                section += command
            made.append(section)
        return made

    def _section(self, name: str, title: nodes.Node) -> nodes.section:
        section = nodes.section(ids=[nodes.make_id(name)], names=[nodes.fully_normalize_name(name)])
        section += nodes.title(name, "", title)
        self.state.document.note_implicit_target(section, section)
        return section


class CommandAliases(SphinxDirective):
    """``command-aliases``: the older names, and the words that each stands for."""

    def run(self) -> list[nodes.Node]:
        """Make a list of definitions."""
        made = nodes.bullet_list()
        for name, words in ALIASES.items():
            command = " ".join(("prompt", *words))
            line = nodes.paragraph()
            line += [nodes.literal(name, name), nodes.Text(": "), nodes.literal(command, command)]
            made += nodes.list_item("", line)
        return [made]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("commands", Commands)
    app.add_directive("command-aliases", CommandAliases)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
