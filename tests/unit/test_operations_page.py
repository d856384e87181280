"""The operators' page quotes what the programs say: whoever changes one has to change the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "doc" / "operations.md").read_text()
SOURCES = "\n".join(path.read_text() for path in (ROOT / "python" / "prompt_processing").rglob("*.py"))
SETTING = re.compile(r"[A-Z][A-Z_]+")
METRIC = re.compile(r"((?:prompt|fan_out|next_visit|butler_writer)_[a-z_]+)(?:\{(\w+)=\"\w+\"\})?")

SYMPTOMS = [
    row.split("|")[1] for row in PAGE.partition("## At three")[2].splitlines() if row.startswith("| ")
]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def told(text: str) -> bool:
    """Tell whether a program may write a text: with anything where the source has a placeholder."""
    pattern = r"\s+".join(re.escape(word) for word in text.split())
    # A text may be in two literals, one in each line.
    return re.search(pattern, re.sub(r'"\s*\n\s*f?"', "", SOURCES)) is not None


LINES = sorted({text for symptom in SYMPTOMS for text in quoted(symptom) if not METRIC.fullmatch(text)})


def test_page_has_its_table() -> None:
    assert len(SYMPTOMS) > 20
    assert len(LINES) > 20


@pytest.mark.parametrize("line", LINES)
def test_quoted_line_is_what_a_program_says(line: str) -> None:
    skipped, _, reason = line.partition("skipped: ")
    assert told(reason if not skipped and reason else line)


def test_named_metrics_and_settings_exist() -> None:
    for name in quoted(PAGE):
        if match := METRIC.fullmatch(name):
            assert f'"{match[1]}"' in SOURCES, name
        elif SETTING.fullmatch(name):
            assert name in SOURCES or name.lower() in SOURCES, name
