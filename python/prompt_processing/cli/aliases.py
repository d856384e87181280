"""Older names under which charts, the playbook and users' scripts call our commands.

No other module knows them. ``[project.scripts]`` in ``pyproject.toml`` lists the installed names. All
have one entry point, which looks up the name it was started under.
"""

from __future__ import annotations

__all__ = ["ALIASES"]

ALIASES: dict[str, tuple[str, ...]] = {
    "prompt-activator": ("worker", "http"),
    "prompt-stream-worker": ("worker", "stream"),
    "prompt-fanout": ("fanout",),
    "prompt-butler-writer": ("writer",),
    "prompt-initializer": ("initializer",),
    "prompt-raw-microservice": ("raws", "serve"),
    "prompt-make-central-repo": ("repo", "make"),
    "prompt-check-repo": ("repo", "check"),
    "prompt-dataset-types": ("repo", "dataset-types"),
    "prompt-finish-exports": ("repo", "finish-exports"),
    "prompt-apdb": ("apdb",),
    "prompt-resend-alerts": ("alerts", "resend"),
    "prompt-difference": ("difference",),
    "prompt-logs": ("logs",),
    "prompt-inspect": ("inspect",),
    "prompt-demo": ("demo",),
    # Scripts of bin/, as the playbook calls them.
    "make-central-repo": ("repo", "make"),
    "make_export": ("repo", "export", "visits"),
    "make_hsc_rc2_export": ("repo", "export", "hsc-rc2"),
    "make_latiss_export": ("repo", "export", "latiss"),
    "make_template_export": ("repo", "export", "templates"),
    "make_preloaded_export": ("repo", "export", "preloaded"),
    "import_export": ("repo", "import"),
    "import_raws": ("repo", "import-raws"),
    "simulate-night": ("simulate",),
    # Scripts of python/tester/.
    "upload.py": ("tester", "upload"),
    "upload_hsc_rc2.py": ("tester", "upload-hsc-rc2"),
    "fill_pool.py": ("tester", "fill-pool"),
}
"""The words of a command, by its older name."""
