"""The directive ``fields-table``: the fields of a pydantic model, from the model itself."""

from __future__ import annotations

import importlib
import types
import typing
from typing import Any, Literal

from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from prompt_processing.settings.meanings import meanings_of

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def _kind(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return "section" if "BeforeValidator" in repr(arguments[1:]) else _kind(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(one) for one in arguments if one is not type(None)))
    if origin is Literal:
        return ", ".join(f"``{value}``" for value in arguments)
    if origin is tuple:
        return (
            "list"
            if not arguments or arguments[-1] is Ellipsis
            else " and ".join(_kind(one) for one in arguments)
        )
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.__name__.removesuffix("Document").removesuffix("Rule").lower() + (
            " rule" if annotation.__name__.endswith("Rule") else ""
        )
    return _WORDS.get(annotation, "mapping" if origin is not None else "any value")


def _default(field: Any) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if (
        value is None
        or value is PydanticUndefined
        or value in ("", (), {})
        or isinstance(value, BaseModel | dict)
    ):
        return ""
    if isinstance(value, bool):
        return f"``{str(value).lower()}``"
    return f"``{list(value)}``" if isinstance(value, tuple) else f"``{value}``"


class FieldsTable(SphinxDirective):
    """``fields-table`` with the full name of a pydantic model."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        module, _, name = self.arguments[0].rpartition(".")
        model: type[BaseModel] = getattr(importlib.import_module(module), name)
        meanings = meanings_of(model)
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 20 20 15 45", ""]
        rows = [
            (
                f"``{name}``",
                _kind(field.annotation),
                _default(field),
                meanings[name],
            )
            for name, field in model.model_fields.items()
        ]
        for first, *others in [("field", "kind", "default", "meaning"), *rows]:
            lines.append(f"   * - {first}")
            lines += [f"     - {text}".rstrip() for text in others]
        document = new_document("fields-table", get_default_settings(Parser))
        Parser().parse("\n".join(lines), document)
        return list(document.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("fields-table", FieldsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
