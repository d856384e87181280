"""How the site under ``doc/`` is built; `bin/doc` does it."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

# autodoc imports what is new to it as a type checker would, which these two do not survive.
import lsst.daf.butler
import lsst.pipe.base  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "Prompt Processing"
author = "The Prompt Processing maintainers"
project_copyright = author
release = version = installed_version("prompt-processing")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "one_template",
    "api_pages",
    "command_pages",
    "settings_tables",
    "fields_tables",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "extensions", "Thumbs.db"]

# Modules are in the contents of a page, and their members are not: the theme copies all contents into each
# page, which took a third of the build.
toc_object_entries = False

html_theme = "furo"
html_title = "Prompt Processing"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["front.css"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

numpydoc_show_class_members = False
# numpydoc loads autosummary, which looks into all docstrings for tables that no page has.
autosummary_generate = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": True}
