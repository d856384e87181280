"""The browser of the tests of pages."""

from __future__ import annotations

import os

from playwright.sync_api import Browser, Playwright
from real_services import required

from prompt_processing.services.software import Software


def launch_chromium(playwright: Playwright) -> Browser:
    """Start the machine's Chromium, or the one that is installed for the tests."""
    program = required("Chromium", Software().chromium)
    return playwright.chromium.launch(
        executable_path=program.path, args=["--no-sandbox"], env={**os.environ, **program.environment}
    )
