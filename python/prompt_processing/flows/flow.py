"""A flow is a plain function with typed parameters, whose docstring explains them."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, get_type_hints

from .errors import FlowError
from .run import FlowRun
from .table import FLOWS

__all__ = ["Flow", "Parameter", "flow", "load_flow"]

_ITEM = re.compile(r"^(?P<names>\w+(?:, \w+)*)$")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a flow.

    Attributes
    ----------
    annotation
        Its type, evaluated.
    default
        `inspect.Parameter.empty` if the flow needs a value.
    help
        Its lines in the docstring.
    """

    name: str
    annotation: Any
    default: Any
    help: str

    @property
    def required(self) -> bool:
        """Whether the flow needs a value."""
        return self.default is inspect.Parameter.empty


class Flow:
    """A function that does a part of the day's work.

    Parameters
    ----------
    function
        Its first parameter is the `FlowRun`; the others are keywords, each with a type and a description in
        the docstring.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    @property
    def name(self) -> str:
        """Name, as on the command line."""
        return self.function.__name__.replace("_", "-")

    @property
    def description(self) -> str:
        """The docstring down to its parameters."""
        text = inspect.getdoc(self.function) or ""
        return text.partition("\n\nParameters\n---")[0]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters after the first."""
        types = get_type_hints(self.function)
        helps = _helps(inspect.getdoc(self.function) or "")
        _, *own = inspect.signature(self.function).parameters.values()
        return tuple(
            Parameter(one.name, types[one.name], one.default, helps.get(one.name, "")) for one in own
        )

    def __call__(self, run: FlowRun, **parameters: Any) -> None:
        """Do the work."""
        self.function(run, **parameters)

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Refuse parameters that the flow does not have, and the lack of those that it needs.

        Raises
        ------
        FlowError
            Raised with the names.
        """
        known = {one.name: one for one in self.parameters}
        if unknown := sorted(set(parameters) - set(known)):
            raise FlowError(f"{self.name} has no parameter {', '.join(unknown)}: it has {', '.join(known)}")
        if absent := [name for name, one in known.items() if one.required and name not in parameters]:
            raise FlowError(f"{self.name} needs {', '.join(absent)}")


def flow(function: Callable[..., None]) -> Flow:
    """Make a flow of a function; see `Flow`."""
    return Flow(function)


def load_flow(name: str) -> Flow:
    """Import a flow.

    Raises
    ------
    FlowError
        Raised if there is none of that name.
    """
    if name not in FLOWS:
        raise FlowError(f"there is no flow {name!r}: choose one of {', '.join(FLOWS)}")
    module, _, attribute = FLOWS[name].target.partition(":")
    found: Flow = getattr(import_module(module), attribute)
    return found


def _helps(docstring: str) -> dict[str, str]:
    """Return the descriptions of the parameters in a numpydoc docstring."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+$|\Z)", docstring, re.DOTALL | re.MULTILINE)
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", section[1] if section else ""):
        head, _, text = block.partition("\n")
        if match := _ITEM.match(head.partition(" : ")[0].strip()):
            for name in match["names"].split(", "):
                found[name] = " ".join(textwrap.dedent(text).split()).replace("``", "")
    return found
