"""Room for the frames of a process, in one piece of memory."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["call_with_room_for_frames"]

_SLOTS = 80_000
"""Words that the frame of the call announces. CPython then takes 1 MiB at once, and 400 kB are left for the
frames of the calls inside; no page is used before it is needed."""


def call_with_room_for_frames[T](function: Callable[[], T]) -> T:
    """Return the result of a function, called with room for the frames of all calls inside it.

    CPython keeps frames in pieces of 16 KiB, and returns each to the system when its first frame ends. A loop
    of calls at the end of a piece takes and returns one for each call: while a worker started, eight thousand
    times, a thirtieth of the time.
    """
    return function()


call_with_room_for_frames.__code__ = call_with_room_for_frames.__code__.replace(co_stacksize=_SLOTS)
