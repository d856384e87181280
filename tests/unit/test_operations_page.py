"""The pages for operators quote what the programs say: whoever changes one has to change the other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOC = ROOT / "doc"
PAGES = [
    DOC / "operations.md",
    *sorted((DOC / "operations").glob("*.md")),
    *sorted((DOC / "playbook").glob("*.md")),
]
SETTING = re.compile(r"[A-Z][A-Z_]+")
METRIC = re.compile(r"((?:prompt|fan_out|next_visit|butler_writer)_[a-z_]+)(?:\{(\w+)=(?:\"\w+\"|\.\.\.)\})?")
NOT_A_MESSAGE = re.compile(
    r"--|[=$<>*#{}]|^(?:\S*[/.]\S*|prompt|python|GET|butler|argocd|helm|docker|retry:|containerConcurrency:"
    r"|liveReload:|BASE_TAG_LIST:) "
)
"""Commands, requests, settings and formulas."""
FROM_OUTSIDE = {
    "No space left on device",
    "database or disk is full",
    "appendonly yes",
    "appendfsync everysec",
    "cannot fetch token: 400 Bad Request",
}
"""What the system, SQLite, Redis and kubectl say or read."""
BLANK = "\0"


def quoted(page: Path) -> list[str]:
    """Return what a page has in backticks, blocks of code left out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)
    return [
        " ".join(found.split())
        for paragraph in re.split(r"\n\s*\n", text)
        for found in re.findall(r"(?<!`)`([^`]+)`(?!`)", paragraph)
    ]


def messages(page: Path) -> set[str]:
    return {text for text in quoted(page) if " " in text and not NOT_A_MESSAGE.search(text)} - FROM_OUTSIDE


def literals(path: Path) -> Iterator[str]:
    """Return the texts of a module without its docstrings, with a blank for what is filled in."""
    tree = ast.parse(path.read_text())
    passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            passed |= {id(part) for part in node.values}
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else BLANK for part in node.values
            )
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
            yield re.sub(r"%(?:\.\d+)?[sdfgr]", BLANK, node.value)


SOURCES = sorted((ROOT / "python" / "prompt_processing").rglob("*.py"))


@pytest.fixture(scope="module")
def all_literals() -> set[str]:
    return {" ".join(text.split()) for path in SOURCES for text in literals(path)}


def said(text: str, all_literals: set[str]) -> bool:
    """Return whether a program may write a text; three dots stand for whatever it fills in."""
    pattern = re.compile(re.escape(text).replace(re.escape("..."), ".*"))
    if any(pattern.search(literal) for literal in all_literals):
        return True
    # A reason may be a text of its own, filled in at the end.
    start, _, reason = text.rpartition(": ")
    return (
        bool(start)
        and reason in all_literals
        and any(f"{start}: {BLANK}" in literal for literal in all_literals)
    )


def test_pages_quote_messages() -> None:
    count = {page.stem: len(messages(page)) for page in PAGES}
    assert count["operations"] > 25
    assert count["faults"] > 15
    assert count["central-repository"] > 1


@pytest.mark.parametrize("page", [page for page in PAGES if messages(page)], ids=lambda page: page.stem)
def test_quoted_messages_are_what_programs_say(page: Path, all_literals: set[str]) -> None:
    assert sorted(text for text in messages(page) if not said(text, all_literals)) == []


@pytest.mark.parametrize("page", PAGES[:2], ids=lambda page: page.stem)
def test_named_metrics_and_settings_exist(page: Path) -> None:
    everything = "\n".join(path.read_text() for path in SOURCES)
    absent = set()
    for name in quoted(page):
        if match := METRIC.fullmatch(name):
            if f'"{match[1].removesuffix("_total")}"' not in everything:
                absent.add(name)
        elif SETTING.fullmatch(name) and name not in everything and name.lower() not in everything:
            absent.add(name)
    assert absent == set()
