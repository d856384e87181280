"""What comes from data is text in a page, never markup."""

from __future__ import annotations

import struct
import zlib
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io.votable import parse_single_table
from kept_night import EVIL

from prompt_processing.navigator.nights.calendar import months
from prompt_processing.navigator.nights.states import state_bar
from prompt_processing.navigator.objects.cutouts import as_png, picture
from prompt_processing.navigator.objects.export import export
from prompt_processing.navigator.objects.tree import tree
from prompt_processing.navigator.text import escaped, facts, number, sexagesimal, table, utc
from prompt_processing.nights.records import State


class Tags(HTMLParser):
    """The tags of a text, and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


@pytest.mark.parametrize(
    "text",
    [
        escaped(EVIL),
        facts({EVIL: EVIL, "n": 1.5}),
        tree({EVIL: EVIL, "list": [EVIL, {"psfFlux": EVIL}], "deep": {"a": {"b": EVIL}}, "bytes": b"x"}),
        table([EVIL], [[escaped(EVIL)]], EVIL),
        months({20260531: EVIL}, None, lambda night: EVIL),
    ],
)
def test_markup_in_data_stays_text(text: str) -> None:
    for tag, attributes in Tags(text).found:
        assert tag not in ("script", "img")
        assert not any(name.startswith("on") for name, _ in attributes)


def test_long_text_is_cut() -> None:
    assert len(escaped("x" * 10_000_000)) < 1000
    assert len(tree({"reason": "x" * 10_000_000})) < 1000


def test_packet_that_nests_without_end_is_cut() -> None:
    record: dict[str, Any] = {}
    record["self"] = record
    assert len(tree(record)) < 2000


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "–"), (float("nan"), "–"), (np.ma.masked, "–"), (True, "yes"), (3.14159, "3.142"),
     (3_476_249_696_626_802_690, "3476249696626802690"), (np.int64(7), "7")],
)  # fmt: skip
def test_numbers_are_short_and_ids_are_whole(value: Any, expected: str) -> None:
    assert number(value) == expected


def test_position_rounds_over_the_whole_circle() -> None:
    assert sexagesimal(359.99999999, -0.00001) == "00:00:00.00 -00:00:00.0"
    assert sexagesimal(150.1, 2.2) == "10:00:24.00 +02:12:00.0"


def test_time_that_is_none_is_a_dash() -> None:
    assert [utc(one) for one in (None, float("nan"), -5.0, 1e300)] == ["–"] * 4
    assert utc(0.0) == "1970-01-01 00:00:00"


def test_states_are_said_in_words_too() -> None:
    text = state_bar(dict.fromkeys(State, 0) | {State.DONE: 3, State.FAILED: 1})
    assert 'aria-label="3 done, 1 failed"' in text


def test_impossible_nights_are_left_out_of_the_calendar() -> None:
    assert months({20261399: "x", 99999999: "y"}, None, str) in ("", '<div class="months"></div>')


def test_png_has_the_pixels() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = as_png(grey)
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (4, 3)
    start = content.index(b"IDAT") + 4
    size = struct.unpack(">I", content[start - 8 : start - 4])[0]
    lines = np.frombuffer(zlib.decompress(content[start : start + size]), np.uint8).reshape(3, 5)
    np.testing.assert_array_equal(lines[:, 1:], grey)


def test_picture_of_nothing_is_a_picture() -> None:
    assert picture(np.full((3, 3), np.nan), "text").startswith("<img alt=")


def test_selection_is_the_same_in_every_format() -> None:
    frame = pd.DataFrame(
        {
            "diaSourceId": [3_476_249_696_626_802_690, 2],
            "ssObjectId": [None, 5],
            "band": ["r", None],
            "psfFlux": [1.5, None],
            "nothing": [None, None],
        },
        dtype=object,
    )
    csv = export(frame, "CSV").read().decode().splitlines()
    assert csv[1].startswith("3476249696626802690,,r,1.5")
    parquet = pq.read_table(export(frame, "Parquet")).to_pylist()
    assert parquet[0]["diaSourceId"] == 3_476_249_696_626_802_690
    assert parquet[0]["ssObjectId"] is None
    votable = parse_single_table(export(frame, "VOTable")).to_table()
    assert int(votable["diaSourceId"][0]) == 3_476_249_696_626_802_690
    assert bool(np.ma.getmaskarray(votable["ssObjectId"])[0])
