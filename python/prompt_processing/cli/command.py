"""Base of all commands: help with examples, settings and exit statuses, and the returned status."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Container, Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from .extras import missing_extra

__all__ = ["Command", "Option", "import_attribute", "option"]


class Option(click.Option):
    """Option that is listed under a heading.

    Parameters
    ----------
    section
        The heading.
    several
        Whether the option takes several values, up to the next option.
    """

    def __init__(
        self, *arguments: Any, section: str = "Options", several: bool = False, **options: Any
    ) -> None:
        if several:
            options["multiple"] = True
        super().__init__(*arguments, **options)
        self.section = section
        self.several = several


def option(*names: str, **options: Any) -> Callable[[Any], Any]:
    """Declare an option; parameters as for `Option`."""
    return click.option(*names, cls=Option, **options)


class Command(click.Command):
    """Command whose function returns the exit status, 0 if it returns nothing.

    Parameters
    ----------
    examples
        Lines to type, each optionally followed by ``  # what it does``.
    settings
        ``module:class`` of the settings that the command reads from the environment. It is imported only to
        show the help.
    settings_note
        A sentence about what the command reads from the environment.
    statuses
        Meaning of exit statuses other than 0 and 2.
    """

    def __init__(
        self,
        *arguments: Any,
        examples: str = "",
        settings: str = "",
        settings_note: str = "",
        statuses: Mapping[int, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples
        self.settings = settings
        self.settings_note = settings_note
        self.statuses = dict(statuses or {})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; an option with several values equals a repeated option."""
        several = {
            name
            for parameter in self.params
            if isinstance(parameter, Option) and parameter.several
            for name in parameter.opts
        }
        return super().parse_args(ctx, _repeated(args, several) if several else args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if not isinstance(parameter, click.Option):
                continue
            if (record := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        # Options without a heading, such as --help, come last.
        for section in sorted(sections, key=lambda name: name == "Options"):
            with formatter.section(section):
                formatter.write_dl(sections[section])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the function and exit with the status that it returns."""
        try:
            status = super().invoke(ctx)
        except ModuleNotFoundError as error:
            if sentence := missing_extra(error, ctx.command_path):
                raise click.ClickException(sentence) from error
            raise
        if isinstance(status, int):
            ctx.exit(status)
        return status

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples, settings and statuses below the options."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in textwrap.dedent(self.examples).strip().splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
        if self.settings_note:
            formatter.write_paragraph()
            formatter.write_text(self.settings_note)
        if self.settings:
            self._format_settings(formatter)
        if self.statuses:
            with formatter.section("Exit status"):
                meanings = {0: "done", 2: "wrong arguments", **self.statuses}
                formatter.write_dl([(str(status), text) for status, text in sorted(meanings.items())])

    def _format_settings(self, formatter: click.HelpFormatter) -> None:
        required, optional = _setting_rows(import_attribute(self.settings))
        for title, rows in (
            ("Environment variables that must be set", required),
            ("Environment variables with a default", optional),
        ):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=28)


def import_attribute(target: str) -> Any:
    """Import what ``module:attribute`` names."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _repeated(arguments: Sequence[str], several: Container[str]) -> list[str]:
    repeated: list[str] = []
    current = ""
    for word in arguments:
        if word.startswith("-"):
            current = word if word in several else ""
            if not current:
                repeated.append(word)
        elif current:
            repeated += [current, word]
        else:
            repeated.append(word)
    return repeated


def _setting_rows(settings: Any) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return names and meanings of the variables that must be set, and of the others."""
    from prompt_processing.settings.meanings import meanings_of

    settings.model_rebuild()
    meanings = meanings_of(settings)
    required, optional = [], []
    for name, field in settings.model_fields.items():
        meaning = meanings[name].replace("``", "")
        if field.is_required():
            required.append((name.upper(), meaning))
        else:
            default = _default(field.get_default(call_default_factory=True))
            optional.append((name.upper(), f"{meaning}  [default: {default}]" if default else meaning))
    return required, optional


def _default(value: Any) -> str:
    # Any other value is a secret, or is meaningless as text.
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float):
        return f"{value:g}"
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence | frozenset) and all(isinstance(one, str) for one in value):
        return " ".join(sorted(value))
    return ""
