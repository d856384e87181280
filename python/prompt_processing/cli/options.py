"""Types of arguments, and logging of commands."""

from __future__ import annotations

import logging
import os
import re
import sys
from contextlib import suppress
from typing import Any

import click
from click.shell_completion import CompletionItem

__all__ = [
    "INSTRUMENT",
    "NIGHT",
    "NUMBERS",
    "PAIRS",
    "PIXELS",
    "TYPE_NAMES_HELP",
    "log_to_stderr",
    "parse_type_names",
    "use_one_blas_thread",
]

TYPE_NAMES_HELP = "Names in the repository of dataset types of the pipelines."


class _Instrument(click.ParamType[str]):
    """Name of a camera. Names are looked up only on use, since cameras are slow to import."""

    name = "instrument"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name."""
        from prompt_processing.instruments import InstrumentError, load_instrument

        try:
            known = _camera_names()
            if value in known:
                load_instrument(value)
        except InstrumentError as error:
            self.fail(error.reason, param, ctx)
        if value not in known:
            self.fail(f"{value!r} is not one of {', '.join(known)}.", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete a name."""
        from prompt_processing.instruments import InstrumentError

        with suppress(InstrumentError):
            return [CompletionItem(name) for name in _camera_names() if name.startswith(incomplete)]
        return []


class _Pixels(click.ParamType[tuple[int, int]]):
    """Columns and rows."""

    name = "columnsxrows"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Split the text."""
        if isinstance(value, tuple):
            return value
        columns, _, rows = str(value).partition("x")
        try:
            pixels = int(columns), int(rows)
        except ValueError:
            pixels = 0, 0
        if min(pixels) < 1:
            self.fail(f"{value!r} is not of the form COLUMNSxROWS, such as 127x500.", param, ctx)
        return pixels


class _Pairs(click.ParamType[tuple[str, str]]):
    """``name=value``."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split the text."""
        if isinstance(value, tuple):
            return value
        name, separator, rest = str(value).partition("=")
        if not separator or not name.strip() or not rest.strip():
            self.fail(f"{value!r} is not of the form NAME=VALUE.", param, ctx)
        return name.strip(), rest.strip()


class _Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers separated by commas."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Split the text."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(word) for word in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers separated by commas.", param, ctx)


class _Night(click.ParamType[str]):
    """A day of observation."""

    name = "yyyy-mm-dd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the form."""
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(value)):
            self.fail(f"{value!r} is not of the form YYYY-MM-DD.", param, ctx)
        return str(value)


INSTRUMENT = _Instrument()
PAIRS = _Pairs()
NUMBERS = _Numbers()
PIXELS = _Pixels()
NIGHT = _Night()


def use_one_blas_thread() -> None:
    """Let BLAS use one thread, unless the user says otherwise; before anything imports NumPy.

    Tasks and processes divide the cores among themselves, and the last digits of sums depend on the number of
    threads.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def log_to_stderr(level: int = logging.WARNING, form: str = "%(levelname)s: %(message)s") -> None:
    """Log to standard error, for a person at a terminal."""
    logging.basicConfig(level=level, stream=sys.stderr, format=form)
    # It warns of converters to types of other stacks, which no command needs.
    logging.getLogger("lsst.daf.butler._storage_class").setLevel(logging.ERROR)


def parse_type_names(text: str | None) -> dict[str, str]:
    """Read the names of dataset types in a repository, as the worker's ``DATASET_TYPE_NAMES``.

    Raises
    ------
    ValueError
        Raised if the text is not such a mapping.
    """
    from prompt_processing.settings.worker import parse_renamed_types

    return parse_renamed_types(text or "")


def _camera_names() -> tuple[str, ...]:
    from prompt_processing.instruments.camera import camera_names

    return camera_names()
