"""The browser of the tests of pages."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Page, Playwright
from real_services import required

from prompt_processing.services.software import Software


@dataclass
class Heard:
    """What a page of a browser said in its console, and the addresses that it asked."""

    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def listen_to(self, page: Page) -> None:
        """Note what a page says and asks from now on."""
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.console.append(f"error: {error}"))
        page.on("request", lambda request: self.requests.append(request.url))


def launch_chromium(playwright: Playwright) -> Browser:
    """Start the machine's Chromium, or the one that is installed for the tests."""
    program = required("Chromium", Software().chromium)
    return playwright.chromium.launch(
        executable_path=program.path, args=["--no-sandbox"], env={**os.environ, **program.environment}
    )
