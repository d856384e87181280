"""Pages and source texts are plain English: phrases that an edit has removed do not come back."""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(page for page in sorted((ROOT / "doc").rglob("*.md")) if "_build" not in page.parts),
]
SOURCES = [
    path
    for folder in ("python", "benchmarks", "tests/support")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
PHRASES = re.compile(
    r"not to be had|ma(?:de|kes)[ -]up\b|given to nobody|(?<!user )\bnobody\b|\banew\b|\bwhoever\b"
    r"|\bin whose\b|\btells? (?:whether|what|which|how|why|all)\b|\b(?:is|are|as|be) told\b|\btold apart\b"
    r"|follows by itself|gives? signs? of life|\bno sign of life\b|\bsays? nothing of\b|\bfor want of\b"
    r"|\bfind out whether\b|\bleast number\b|\basks? the (?:bucket|APDB)\b|\bcleared away\b"
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


def texts(source: Path) -> Iterator[str]:
    """Return the docstrings, comments and messages of a module; a block of comments is one text."""
    comments: list[str] = []
    with tokenize.open(source) as lines:
        for token in tokenize.generate_tokens(lines.readline):
            if token.type == tokenize.COMMENT:
                comments.append(token.string.lstrip("# "))
            elif token.type in (tokenize.STRING, tokenize.FSTRING_MIDDLE) and " " in token.string:
                yield " ".join(token.string.split())
            elif token.type not in (tokenize.NL, tokenize.STRING, tokenize.FSTRING_MIDDLE):
                yield " ".join(comments)
                comments = []


def test_sources_have_none_of_the_removed_phrases() -> None:
    found = {
        str(path.relative_to(ROOT)): phrases
        for path in SOURCES
        if (phrases := [phrase for text in texts(path) for phrase in PHRASES.findall(text)])
    }
    assert found == {}
