"""Judge pages with axe-core, as people without eyes, without a mouse or with a narrow screen meet them."""

from __future__ import annotations

import time
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

__all__ = ["barriers", "width_of"]

_SEVERE = ("serious", "critical")
_RUN = "() => axe.run(document, {resultTypes: ['violations']})"


def barriers(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical, one line each."""
    # Run by the browser's debugger, which the page's policy does not bind.
    page.evaluate(AXE_SCRIPT)
    found: dict[str, Any] = page.evaluate(_RUN)
    assert found["passes"], "axe-core has judged nothing"
    return [
        f"{one['impact']}: {one['id']}: {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in _SEVERE
        for node in one["nodes"]
    ]


def width_of(page: Page, wanted: int, height: int = 800) -> int:
    """Return the width of the content in a window of this width, once the page has had time to follow."""
    page.set_viewport_size({"width": wanted, "height": height})
    deadline = time.monotonic() + 20
    while True:
        found = int(page.evaluate("() => document.documentElement.scrollWidth"))
        if found <= wanted or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
