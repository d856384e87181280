"""Viewers of the board: each asks for news every two seconds, as its page does."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import aiohttp

__all__ = ["Viewing", "view"]

PERIOD_S = 2.0


@dataclass
class Viewing:
    """What the viewers got.

    Attributes
    ----------
    seconds
        Time of each answer.
    n_new
        Answers with a new view; the others said that nothing has changed.
    errors
        What went wrong.
    """

    seconds: list[float] = field(default_factory=list)
    n_new: int = 0
    errors: list[str] = field(default_factory=list)


def view(url: str, n_viewers: int, duration_s: float) -> Viewing:
    """Let viewers look at the board.

    Parameters
    ----------
    url
        Address of the view.
    n_viewers
        Number of viewers.
    duration_s
        Time for which they look.
    """
    return asyncio.run(_view(url, n_viewers, duration_s))


async def _view(url: str, n_viewers: int, duration_s: float) -> Viewing:
    viewing = Viewing()
    end = time.monotonic() + duration_s
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=n_viewers), timeout=timeout
    ) as session:

        async def look(number: int) -> None:
            await asyncio.sleep(PERIOD_S * number / n_viewers)
            tag = ""
            while time.monotonic() < end:
                begin = time.monotonic()
                try:
                    async with session.get(url, headers={"If-None-Match": tag} if tag else {}) as answer:
                        await answer.read()
                        if answer.status not in (200, 304):
                            viewing.errors.append(f"HTTP {answer.status}")
                        viewing.n_new += answer.status == 200
                        tag = answer.headers.get("ETag", "")
                except (aiohttp.ClientError, TimeoutError) as error:
                    viewing.errors.append(type(error).__name__)
                seconds = time.monotonic() - begin
                viewing.seconds.append(seconds)
                await asyncio.sleep(max(0.0, PERIOD_S - seconds))

        await asyncio.gather(*(look(number) for number in range(n_viewers)))
    return viewing
