"""Compile numpydoc's template once a build: it does so for each docstring, which took a third of the time."""

from __future__ import annotations

import jinja2
import numpydoc.docscrape_sphinx
from jinja2.sandbox import SandboxedEnvironment
from sphinx.application import Sphinx


class OneEnvironment(SandboxedEnvironment):
    """The environment of the first docstring, for all that follow."""

    first: OneEnvironment | None = None

    def __new__(cls, loader: jinja2.BaseLoader) -> OneEnvironment:
        """Return the first, which the loader of the first docstring fills."""
        if cls.first is None:
            cls.first = super().__new__(cls)
            SandboxedEnvironment.__init__(cls.first, loader=loader)
        return cls.first

    def __init__(self, loader: jinja2.BaseLoader) -> None:
        """Keep what the first has."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    numpydoc.docscrape_sphinx.SandboxedEnvironment = OneEnvironment
    return {"parallel_read_safe": True, "parallel_write_safe": True}
