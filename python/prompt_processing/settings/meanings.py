"""What the fields of a model mean: the docstrings below them, for help and documentation."""

from __future__ import annotations

import ast
import inspect
import textwrap

from pydantic import BaseModel

__all__ = ["meanings_of"]


def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring below each field of a model and of its bases, by name, on one line.

    The source is read only here. With pydantic's ``use_attribute_docstrings``, each process would read and
    parse it at its start, which takes a worker a tenth of a second.

    Parameters
    ----------
    model
        The class.
    """
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, BaseModel) and not one.__module__.startswith("pydantic"):
            found |= _of_class(one)
    return {name: found.get(name, "") for name in model.model_fields}


def _of_class(model: type[BaseModel]) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            found[field.target.id] = " ".join(text.value.value.split())
    return found
