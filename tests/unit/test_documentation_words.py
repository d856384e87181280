"""The pages are plain English: phrases that an edit has removed do not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(page for page in sorted((ROOT / "doc").rglob("*.md")) if "_build" not in page.parts),
]
PHRASES = re.compile(
    r"not to be had|ma(?:de|kes) up\b|given to nobody|\bnobody\b|\banew\b|\bwhoever\b|\bin whose\b"
    r"|tells? (?:whether|what|how|why|all)\b|\b(?:is|are) told\b|follows by itself|gives signs? of life"
    r"|\b(?:Kafka|Redis|PostgreSQL|registry|store|broker|APDB|database) (?:is|are) away\b|what there is\b",
    re.IGNORECASE,
)


def prose(text: str) -> str:
    """Return a page without code, without quoted messages and without examples of what not to write."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\| before \| after \|\n.*?\n\n", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r'"[^"\n]*"', "", text)
    return " ".join(re.sub(r"`[^`]*`", "", text).split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_has_none_of_the_removed_phrases(page: Path) -> None:
    assert PHRASES.findall(prose(page.read_text())) == []
