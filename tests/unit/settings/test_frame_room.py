"""Frames of a process are kept in one piece of memory."""

from __future__ import annotations

import pytest

from prompt_processing.settings.frame_room import call_with_room_for_frames


def depth(n: int) -> int:
    return 0 if n == 0 else 1 + depth(n - 1)


def test_result_and_error_are_those_of_the_function() -> None:
    assert call_with_room_for_frames(lambda: depth(500)) == 500
    with pytest.raises(ZeroDivisionError):
        call_with_room_for_frames(lambda: 1 // 0)


def test_room_is_more_than_one_ordinary_piece() -> None:
    words = call_with_room_for_frames.__code__.co_stacksize
    piece = 16 * 1024
    while piece < 8 * words:
        piece *= 2
    # What is left of the piece holds the frames of the calls inside.
    assert piece - 8 * words > 16 * 16 * 1024
