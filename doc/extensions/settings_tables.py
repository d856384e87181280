"""The directive ``settings-table``: the environment variables of a settings class, from the class itself."""

from __future__ import annotations

import importlib
import re
import types
import typing
from typing import Any, Literal

from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from prompt_processing.domain.selection import PipelineSelection
from prompt_processing.settings.meanings import meanings_of

_WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "0 or 1",
    SecretStr: "text, secret",
    PipelineSelection: "YAML",
}


def _kind(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _kind(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(one) for one in typing.get_args(annotation) if one is not type(None))
    if origin is Literal:
        return ", ".join(f"``{value}``" for value in typing.get_args(annotation))
    return _WORDS.get(annotation, "text")


def _default(field: Any) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value in ("", (), {}, frozenset()):
        return "none"
    if isinstance(value, bool):
        return f"``{int(value)}``"
    if isinstance(value, re.Pattern):
        return f"``{value.pattern}``"
    if isinstance(value, tuple | frozenset | list):
        return f"``{' '.join(str(one) for one in value)}``"
    return f"``{value:g}``" if isinstance(value, float) else f"``{value}``"


def rows(settings: type[BaseSettings]) -> list[tuple[str, str, str, str]]:
    """Return name, kind, default and meaning of each variable of a class."""
    settings.model_rebuild()
    meanings = meanings_of(settings)
    return [
        (name.upper(), _kind(field.annotation), _default(field), meanings[name])
        for name, field in settings.model_fields.items()
    ]


class SettingsTable(SphinxDirective):
    """``settings-table`` with the full name of a settings class."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        module, _, name = self.arguments[0].rpartition(".")
        settings = getattr(importlib.import_module(module), name)
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 30 15 15 40", ""]
        for row in [("variable", "kind", "default", "meaning"), *rows(settings)]:
            first, *others = row
            lines.append(f"   * - ``{first}``" if row[0].isupper() else f"   * - {first}")
            lines += [f"     - {text}" for text in others]
        # The pages are Markdown; a table with markup in its cells is said more plainly in the other language.
        document = new_document("settings-table", get_default_settings(Parser))
        Parser().parse("\n".join(lines), document)
        return list(document.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("settings-table", SettingsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
